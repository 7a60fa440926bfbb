//! Values to be bound to a statement: text, numbers, bytes, each of which may be null. A boolean is 0 or 1.

use std::borrow::Cow;

/// A value that is bound. Its kind is known even where it is null, because Postgres asks.
#[derive(Debug, Clone)]
pub enum Value<'v> {
    Text(Option<Cow<'v, str>>),
    Number(Option<i64>),
    Bytes(Option<Cow<'v, [u8]>>),
}

/// Postgres knows no NUL in texts. What agents send may have one; it is a replacement character there, in the row and
/// wherever the row is compared.
pub fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text }
}

macro_rules! values {
    ($($kind:ident($type:ty) = |$value:ident| $convert:expr;)+) => {
        $(impl<'v> From<$type> for Value<'v> {
            fn from($value: $type) -> Self {
                Self::$kind(Some($convert))
            }
        }
        impl<'v> From<Option<$type>> for Value<'v> {
            fn from(value: Option<$type>) -> Self {
                Self::$kind(value.map(|$value| $convert))
            }
        })+
    };
}

values! {
    Text(&'v str) = |text| text.into();
    Text(&'v String) = |text| text.into();
    Text(String) = |text| text.into();
    Number(i64) = |number| number;
    Number(u32) = |number| number.into();
    Number(bool) = |truth| truth.into();
    Bytes(&'v [u8]) = |bytes| bytes.into();
    Bytes(Vec<u8>) = |bytes| bytes.into();
}
