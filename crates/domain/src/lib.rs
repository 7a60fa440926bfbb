//! What Toolgate knows and how it decides. Plain functions and types: no I/O, no async, no clock,
//! no randomness. Every gate fetches, asks here, and stores what it was told.

pub mod address;
pub mod agent;
pub mod approval;
pub mod audit;
pub mod call;
pub mod clock;
pub mod credential;
pub mod foreign;
pub mod idempotency;
pub mod key;
pub mod keyring;
pub mod kill;
pub mod names;
pub mod oauth;
pub mod operator;
mod packed;
pub mod policy;
pub mod quota;
pub mod risk;
pub mod service;
pub mod stop;
pub mod system;
pub mod tools;
pub mod trust;
pub mod world;
pub mod yaml;
