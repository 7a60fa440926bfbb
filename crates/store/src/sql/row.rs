//! Rows of either database, read by column. Postgres has several widths of numbers and a type for booleans; here they
//! are all numbers.

use std::borrow::Cow;

use sqlx::{ColumnIndex, Row as _, TypeInfo as _, ValueRef as _, postgres::PgRow, sqlite::SqliteRow};

use super::{Result, without_nul};

/// A row.
pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The column at this place or of this name.
    pub fn try_get<'r, T: Column<'r>>(&'r self, place: impl Place) -> Result<T> {
        T::read(self, place)
    }

    /// A text as a column of this row's database holds it.
    pub fn as_kept<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self {
            Self::Sqlite(_) => text.into(),
            Self::Postgres(_) => without_nul(text.into()),
        }
    }
}

/// A number of a column, or its name.
pub trait Place: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + Copy {}

impl<P: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + Copy> Place for P {}

/// What a column can be read as.
pub trait Column<'r>: Sized {
    fn read(row: &'r Row, place: impl Place) -> Result<Self>;
}

/// Texts and bytes are the same in both.
macro_rules! plain {
    ($($type:ty),+) => {
        $(impl<'r> Column<'r> for $type {
            fn read(row: &'r Row, place: impl Place) -> Result<Self> {
                match row {
                    Row::Sqlite(row) => row.try_get(place),
                    Row::Postgres(row) => row.try_get(place),
                }
            }
        }
        impl<'r> Column<'r> for Option<$type> {
            fn read(row: &'r Row, place: impl Place) -> Result<Self> {
                match row {
                    Row::Sqlite(row) => row.try_get(place),
                    Row::Postgres(row) => row.try_get(place),
                }
            }
        })+
    };
}

plain!(&'r str, String, &'r [u8], Vec<u8>);

impl<'r> Column<'r> for Option<i64> {
    fn read(row: &'r Row, place: impl Place) -> Result<Self> {
        match row {
            Row::Sqlite(row) => row.try_get(place),
            Row::Postgres(row) => match row.try_get_raw(place)?.type_info().name() {
                "BOOL" => Ok(row.try_get::<Option<bool>, _>(place)?.map(i64::from)),
                "INT4" => Ok(row.try_get::<Option<i32>, _>(place)?.map(i64::from)),
                _ => row.try_get(place),
            },
        }
    }
}

impl<'r> Column<'r> for i64 {
    fn read(row: &'r Row, place: impl Place) -> Result<Self> {
        Option::<i64>::read(row, place)?.ok_or_else(|| sqlx::Error::Decode("a number is null".into()))
    }
}

impl<'r> Column<'r> for bool {
    fn read(row: &'r Row, place: impl Place) -> Result<Self> {
        Ok(i64::read(row, place)? != 0)
    }
}

impl<'r> Column<'r> for u32 {
    fn read(row: &'r Row, place: impl Place) -> Result<Self> {
        u32::try_from(i64::read(row, place)?).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}
