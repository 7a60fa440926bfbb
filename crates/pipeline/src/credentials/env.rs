//! `env`: variables in the environment of a service's child. `env:` of the service says which.

use std::sync::Arc;

use domain::{
    names::CredentialName,
    service::{EnvValue, StdioUpstream},
};
use vault::Secret;

use super::Injection;

pub(super) fn add(name: &CredentialName, child: &StdioUpstream, value: &Arc<Secret>, to: &mut Injection) {
    for (variable, wanted) in &child.env {
        if *wanted == EnvValue::Credential(name.clone()) {
            to.environment.push((variable.clone(), Arc::clone(value)));
        }
    }
    to.secrets.push(Arc::clone(value));
}
