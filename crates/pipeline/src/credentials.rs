//! What a service's credentials add to a call, at the last moment before it leaves.

use std::sync::Arc;

use domain::{service::Service, stop::Fault, world::World};
use http::request;
use vault::Secret;
use wire::mask::Masker;

/// What the credentials of a service add to one call. It holds secrets, so it has no `Debug`.
#[derive(Default)]
pub(crate) struct Injection {
    /// Variables for a child's environment.
    pub(crate) environment: Vec<(String, Arc<Secret>)>,
    /// Finds its secrets in what the upstream sends back; none where nothing was injected.
    pub(crate) masker: Option<Masker>,
    /// The versions of the values in it, so that connections and children of older values are not used again.
    pub(crate) versions: Vec<u64>,
}

impl Injection {
    /// Adds everything to a request that is otherwise complete. `body` is there where it is known whole.
    pub(crate) fn apply(&self, _request: &mut request::Parts, _body: Option<&[u8]>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Opens credentials and keeps what can be used again.
#[derive(Default)]
pub struct Credentials {}

impl Credentials {
    /// What is to be added to a call of this service now.
    pub(crate) async fn injection(
        &self,
        _service: &Service,
        _world: &World,
    ) -> Result<Arc<Injection>, Fault> {
        Ok(Arc::default())
    }
}
