//! The connection to a server that a gateway depends on, a database or a counting server: whether others can listen on
//! it, and why the server is not trusted.

/// Who can read what is said to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Nobody: it does not leave this machine.
    Here,
    /// Nobody: it is encrypted, for a server that has proven who it is.
    Proven,
    /// Whoever answers in the server's place: it is encrypted, and no certificate is looked at.
    Unproven,
    /// Whoever is on the way: it is in the clear.
    Clear,
}

/// Why a server is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It speaks no TLS.
    NoTls,
    /// No authority that is known has signed its certificate.
    UnknownAuthority,
    /// Its certificate is for other names.
    OtherName,
    /// Its certificate is of the past.
    Expired,
    /// Its certificate is of the future.
    NotYetValid,
    /// Its certificate is an authority's own (RFC 5280 §4.2.1.9), as self-made ones often are.
    Authority,
    /// It wants a certificate of ours.
    WantsOurs,
    /// Something else is wrong with its certificate, or with its TLS.
    Unfit,
}

impl Distrust {
    /// What is wrong, as the end of a sentence.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::NoTls => "it speaks no TLS",
            Self::UnknownAuthority => "its certificate is signed by no authority that is known here",
            Self::OtherName => "its certificate is for another name",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::Authority => "its certificate is an authority's, and no server's",
            Self::WantsOurs => "it wants a certificate of its clients",
            Self::Unfit => "its certificate or its TLS cannot be used",
        }
    }

    /// What to do about it; `area` is that of the settings: `store`, `counters`.
    #[must_use]
    pub fn next(self, area: &str) -> String {
        match self {
            Self::NoTls => format!("turn TLS on there, or correct {area}.url"),
            Self::UnknownAuthority => format!("name the certificate of its authority in {area}.ca_file"),
            Self::OtherName => {
                format!("write a name that is in it in {area}.url, or give the server one for this name")
            }
            Self::Expired => "renew it there".to_owned(),
            Self::NotYetValid => "compare the clocks of both machines".to_owned(),
            Self::Authority => {
                format!("sign one for the server with it, and name the authority's in {area}.ca_file")
            }
            Self::WantsOurs => match area {
                "store" => "name one in store.url (sslcert, sslkey)".to_owned(),
                _ => "let it take clients without one (tls-auth-clients no), with a password".to_owned(),
            },
            Self::Unfit => "look into its log".to_owned(),
        }
    }
}
