//! The gates, in the order a call meets them. Each takes what the gate before it returned and returns a type
//! that only it can build, so leaving a gate out, or swapping two, does not compile.

/// Declares what a gate hands on: the call it was given, proven one step further.
///
/// The field is private to the gate's own file, so no other file can make one.
/// Reading goes straight through to the facts underneath.
macro_rules! proof {
    ($(#[$doc:meta])* $name:ident of $before:ty) => {
        $(#[$doc])*
        pub struct $name($before);
        impl std::ops::Deref for $name {
            type Target = $before;
            fn deref(&self) -> &$before {
                &self.0
            }
        }
        impl $name {
            /// Takes the proof apart; only the last gate has a use for the pieces.
            pub(crate) fn into_inner(self) -> $before {
                self.0
            }
        }
    };
}

/// Who is asking?
pub mod g10_authenticate;
/// May they ask for this?
pub mod g20_authorize;
/// Not too often?
pub mod g30_rate_limit;
/// Was this call made before?
pub mod g40_idempotency;
/// How risky is it?
pub mod g50_assess_risk;
/// Has a person said yes?
pub mod g60_approve;
/// Write the decision down.
pub mod g70_record;
/// Add the service's credential.
pub mod g80_inject_credential;
/// Send it.
pub mod g90_forward;
