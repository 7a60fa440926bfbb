//! Credentials of a service: what they are called and how they go into a request. Their values are never here;
//! only the sealed bytes pass through, which nobody on this floor can open.

mod kind;
mod slot;
mod value;

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{CredentialName, ServiceName};

pub use kind::{BadKind, KIND_WORDS, PARAMETERS, kind_of};
pub use slot::{BadSlot, SLOTS_MAX, carries_over, check_slots, is_reserved_header};
pub use value::{AwsValue, BadValue, RefreshValue, VALUE_BYTES_MAX, check_value};

/// One credential that a service declares. Its value is set apart from it, and may not be there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialSlot {
    /// Its name within the service.
    pub name: CredentialName,
    /// How its value goes into a request.
    pub kind: CredentialKind,
}

impl CredentialSlot {
    /// The slots in the order of their names, which is how services hold them.
    #[must_use]
    pub fn by_name(mut slots: Vec<Self>) -> Vec<Self> {
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        slots
    }
}

/// How a credential's value goes into a request, with everything about it that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// `Authorization: Bearer VALUE` (RFC 6750).
    Bearer,
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user; where it is left out, the value is `user:password`.
        username: Option<String>,
    },
    /// A header of the service's own.
    Header {
        /// The header's name, lower case.
        name: String,
        /// Its value, with `{}` where the secret goes.
        format: String,
    },
    /// A parameter of the query.
    Query {
        /// The parameter's name.
        name: String,
    },
    /// A variable in a child's environment; `env:` of the service says which.
    Env,
    /// A token fetched with a client id and secret (RFC 6749 §4.4).
    Oauth2ClientCredentials(OauthClient),
    /// A token fetched with a refresh token (RFC 6749 §6); what the server hands out anew is kept.
    Oauth2RefreshToken(OauthClient),
    /// AWS Signature Version 4. The value is the secret access key.
    AwsSigv4 {
        /// The access key's id.
        access_key_id: String,
        /// The region, such as `eu-central-1`.
        region: String,
        /// The service's signing name, such as `s3`.
        service: String,
    },
    /// A client certificate (mTLS). The value is PEM: the chain and its private key.
    ClientCertificate,
}

/// What an OAuth token is asked for with, besides the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthClient {
    /// The token endpoint.
    pub token_url: crate::service::UpstreamUrl,
    /// The client's id.
    pub client_id: String,
    /// The scopes to ask for, separated by blanks; none where the server decides.
    pub scope: Option<String>,
    /// The audience or resource to ask for, where the server wants one.
    pub audience: Option<String>,
    /// How the client's secret goes to the token endpoint (RFC 6749 §2.3.1).
    pub client_auth: ClientAuth,
}

/// How a client's secret goes to the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In `Authorization: Basic`.
    Basic,
    /// In the body, as `client_secret`.
    Body,
    /// Not at all: a public client.
    None,
}

/// A credential's value as it is stored: sealed, bound to service, origin, name and version.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedCredential {
    /// Which one.
    pub name: CredentialName,
    /// Moves with every value that is set; the sealing is bound to it.
    pub version: u64,
    /// The ciphertext.
    pub sealed: Arc<[u8]>,
    /// Since when.
    pub set_at: Timestamp,
}

impl std::fmt::Debug for SealedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// The stored values of all services.
pub type SealedCredentials = HashMap<ServiceName, Vec<SealedCredential>>;
