//! Gate 80: add the service's credential. It is opened here and put into the request at the last moment. The agent
//! never holds it, and it is masked where the upstream sends it back.

use std::sync::Arc;

use domain::stop::Stop;

use super::g70_record::Recorded;
use crate::{
    credentials::{Credentials, Injection},
    freshness::Freshness,
};

/// A call with what is to be added to it. Only this gate can make one.
pub struct Equipped {
    call: Recorded,
    injection: Arc<Injection>,
}

impl Equipped {
    /// Takes the proof apart; only the last gate has a use for the pieces.
    pub(crate) fn into_parts(self) -> (Recorded, Arc<Injection>) {
        (self.call, self.injection)
    }
}

pub(crate) async fn inject_credential(
    call: Recorded,
    freshness: &Freshness,
    credentials: &Credentials,
) -> Result<Equipped, Stop> {
    let injection = credentials.injection(&call.service, &freshness.current()).await?;
    Ok(Equipped { call, injection })
}
