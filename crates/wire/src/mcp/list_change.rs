//! Notifications that a list has changed: what they are called in each part of the protocol, and how they are written.

use super::{ListKind, meta};

/// The lists of whose changes a server tells. Those of resources and of their templates are one in this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListChange {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list` and `resources/templates/list`
    Resources,
}

impl ListChange {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// The lists that it is about.
    pub const fn lists(self) -> &'static [ListKind] {
        match self {
            Self::Tools => &[ListKind::Tools],
            Self::Prompts => &[ListKind::Prompts],
            Self::Resources => &[ListKind::Resources, ListKind::ResourceTemplates],
        }
    }

    /// The server capability whose `listChanged` says that it is told of (legacy era).
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
        }
    }

    /// The member of `params.notifications` by which a listener asks for it, and a server agrees (modern era).
    pub const fn wish(self) -> &'static str {
        match self {
            Self::Tools => "toolsListChanged",
            Self::Prompts => "promptsListChanged",
            Self::Resources => "resourcesListChanged",
        }
    }

    /// The notification. On a stream of the modern era it names its `subscription`: the id of the request that opened
    /// the stream, as the client wrote it.
    pub fn notification(self, subscription: Option<&str>) -> String {
        let list = self.capability();
        let params = subscription
            .map(|id| format!(r#","params":{{"_meta":{{"{}":{id}}}}}"#, meta::SUBSCRIPTION_ID))
            .unwrap_or_default();
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"{params}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Message, mcp};

    #[test]
    fn a_notification_is_one_that_the_protocol_knows_and_names_its_stream() {
        for change in ListChange::ALL {
            for subscription in [None, Some("\"\\u0061\""), Some("7")] {
                let text = change.notification(subscription);
                let message = Message::read(text.into(), &Limits::of_bytes(1_000)).unwrap();
                assert!(message.method().and_then(mcp::method).is_some(), "{change:?}");
                assert_eq!(message.meta(meta::SUBSCRIPTION_ID).map(crate::Raw::text), subscription);
            }
        }
    }
}
