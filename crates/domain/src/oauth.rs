//! Access tokens of OAuth issuers (RFC 9068): what an operator says of an issuer, and what follows from a token's claims
//! once its signature is proven. Whoever has a good token is an agent that exists; no token makes one.

mod grant;
mod resource;
mod terms;
mod token;

pub use grant::{Grant, LEEWAY, TokenFault};
pub use resource::Resource;
pub use terms::{AgentRule, IssuerId, Terms};
pub use token::AccessToken;
