//! What is written: a fact for the trail, and the change it tells of, together or not at all.

use std::{collections::BTreeSet, fmt, sync::Arc};

use domain::{
    agent::{Agent, AgentState, Key},
    approval::{Decided, Ending, Held, Outcome, Resolved},
    audit::Event,
    credential::CredentialKind,
    idempotency::IdempotencyKey,
    key::{KeyId, KeyMac},
    keyring::RingKey,
    kill::Kill,
    names::{AgentName, ApprovalId, CallId, CredentialName, RoleName, ServiceName},
    operator::{Email, Operator, OperatorRole, OperatorState, Session, SessionId, Token, TokenId},
    service::Service,
    tools::ToolHash,
};
use jiff::Timestamp;

use crate::{Oldest, PutTools, StoreError};

/// One event, and the change it tells of. Both are committed together.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What changes; intents, outcomes and refusals change nothing.
    pub change: Option<Change>,
    /// The fact. It is written only when the change took place.
    pub event: Event,
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self { change: None, event }
    }
}

/// A change with its condition. Where the condition does not hold, nothing happens.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new agent. Condition: no agent ever had the name.
    CreateAgent(Agent),
    /// Another role or scope. Condition: the agent exists, is not deleted, and has the role and scope `from`.
    UpdateAgent {
        /// Which agent.
        name: AgentName,
        /// The role and scope that the change was worked out from.
        from: (RoleName, BTreeSet<ServiceName>),
        /// Its role from now on.
        role: RoleName,
        /// Its scope from now on.
        scope: BTreeSet<ServiceName>,
    },
    /// Disables, enables, deletes. Condition: the agent is in another state, not deleted, and as `seen` where that says.
    SetAgentState {
        /// Which agent.
        name: AgentName,
        /// Its state from now on.
        state: AgentState,
        /// Its role, scope and state as whoever asks has seen them; `None`: whatever they are.
        seen: Option<(RoleName, BTreeSet<ServiceName>, AgentState)>,
    },
    /// A new key. Condition: its agent exists and is not deleted, its id and its MAC are new.
    CreateKey(Key),
    /// Stops a key. Condition: it exists and is not revoked.
    RevokeKey {
        /// Which key.
        id: KeyId,
        /// Since when.
        at: Timestamp,
    },
    /// Adds or replaces a service. Condition: the stored one has the revision `replaces`; `None`: there is none.
    PutService {
        /// The service from now on.
        service: Service,
        /// The revision that the change was worked out from (see [`crate::StoredService`]).
        replaces: Option<i64>,
        /// The text of its documentation; `None`: it has none.
        documentation: Option<String>,
        /// The credentials whose values stay; those of all others are dropped.
        keeps: BTreeSet<CredentialName>,
    },
    /// Removes a service, the values of its credentials and its documentation. Condition: it exists, with the revision
    /// `seen` where that says.
    RemoveService {
        /// Which service.
        name: ServiceName,
        /// The revision that whoever asks has seen; `None`: whatever it is.
        seen: Option<i64>,
    },
    /// What is known of a service's tools. Condition: the service is there; what is kept has the revision `replaces`.
    PutTools(Box<PutTools>),
    /// An operator accepts a tool as it is defined now. Condition: it is defined so now, its definition is kept, and no
    /// operator has accepted it before.
    AcceptTool {
        /// Whose.
        service: ServiceName,
        /// Which tool.
        tool: String,
        /// The definition that was shown.
        hash: ToolHash,
        /// Who, as the trail names them.
        by: Arc<str>,
        /// When.
        at: Timestamp,
    },
    /// Sets a credential's value. Condition: the service is there, has the origin, declares the name with a kind that
    /// values of `kind` [carry over](domain::credential::carries_over) to; the stored version is `replaces`, or `None`
    /// and there is no value; `version` was never given before.
    PutCredential {
        /// Whose.
        service: ServiceName,
        /// Scheme, host and port that it is sealed for.
        origin: String,
        /// Which one.
        name: CredentialName,
        /// What the value was meant for: a service that declares another kind by now would send it elsewhere.
        kind: CredentialKind,
        /// The version that it is sealed under.
        version: u64,
        /// The version that it takes the place of.
        replaces: Option<u64>,
        /// The ciphertext.
        sealed: Vec<u8>,
        /// When.
        at: Timestamp,
    },
    /// Drops a credential's value; its version stays taken. Condition: there is a value of that version.
    RemoveCredential {
        /// Whose.
        service: ServiceName,
        /// Which one.
        name: CredentialName,
        /// The version that the event names.
        version: u64,
    },
    /// Drops the oldest events of the trail; the event must tell which. Condition: the last of them is there with its hash,
    /// and is not the newest.
    DropOldest(Oldest),
    /// A new operator. Condition: the address is new.
    CreateOperator(Operator),
    /// Disables, enables; disabling ends their sessions. Condition: the operator is in another state; another active
    /// owner is left.
    SetOperatorState {
        /// Who.
        email: Email,
        /// Their state from now on.
        state: OperatorState,
        /// When.
        at: Timestamp,
    },
    /// Another role. Condition: the operator has the role `from`; another active owner is left.
    SetOperatorRole {
        /// Who.
        email: Email,
        /// What they may do so far.
        from: OperatorRole,
        /// What they may do from now on.
        to: OperatorRole,
    },
    /// Another password; their tokens are revoked, their sessions end, wrong passwords are forgotten. Condition: the
    /// operator exists, and has the password `replaces` where that says.
    ResetOperator {
        /// Who.
        email: Email,
        /// argon2id in PHC form.
        password_hash: String,
        /// The hash that the old password was compared with; `None`: whatever it is.
        replaces: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A new token. Condition: its operator exists, is active and still has the password that it was asked for with;
    /// its id and its MAC are new.
    CreateToken {
        /// The token.
        token: Token,
        /// The hash that the password was compared with: resetting it revokes tokens, and must not miss this one.
        password_hash: String,
    },
    /// Stops a token. Condition: it exists and is not revoked.
    RevokeToken {
        /// Which token.
        id: TokenId,
        /// Since when.
        at: Timestamp,
    },
    /// A login. Condition: its operator exists, is active and still has the password that they came with; its id and
    /// the MAC of its refresh token are new.
    OpenSession {
        /// The session.
        session: Session,
        /// What its first refresh token is looked up by.
        refresh: KeyMac,
        /// The hash that the password was compared with.
        password_hash: String,
    },
    /// Ends a session. Condition: it exists and was not ended.
    EndSession {
        /// Which session.
        id: SessionId,
        /// When.
        at: Timestamp,
    },
    /// Another key ring: a new term, terms that only open from now on, a new root key. Condition: the stored ring is
    /// `from`. Terms are added or changed, never removed.
    SetKeyring {
        /// The ring that the change was worked out from, oldest term first.
        from: Vec<RingKey>,
        /// The terms that are new or other than before.
        to: Vec<RingKey>,
        /// The salt of the passphrase that the root key is made of, where that is another one.
        salt: Option<[u8; 16]>,
        /// When.
        at: Timestamp,
    },
    /// Turns the kill switch on. Condition: it is off.
    TurnKillOn(Kill),
    /// Turns the kill switch off. Condition: it is on, and is this one.
    TurnKillOff(Kill),
    /// An agent's idempotency key belongs to this call from now on. Condition: the agent has no such key, or it is
    /// not remembered any more.
    ClaimIdempotency(IdempotencyClaim),
    /// What became of a call that was made under an idempotency key. Condition: the key still belongs to it, and
    /// has no answer yet.
    SettleIdempotency {
        /// Whose key.
        agent: AgentName,
        /// The key.
        key: IdempotencyKey,
        /// The call that claimed it.
        call: CallId,
        /// What is known.
        settled: Settled,
    },
    /// A call waits for people. Condition: its agent has fewer pending ones than it may, and no live one of the same
    /// call (without an idempotency key) or under the same idempotency key; the id is new.
    HoldCall(Box<HoldCall>),
    /// An operator decides. Condition: they are active and may decide;
    /// [`Standing::after`](domain::approval::Standing::after) allows it at that time; as many have approved before as
    /// the event says.
    DecideApproval {
        /// Which approval.
        id: ApprovalId,
        /// The approval digest that was shown.
        digest: [u8; 32],
        /// How many have approved before.
        approved_before: usize,
        /// What they say, and when.
        decided: Decided,
    },
    /// The agent takes its call back. Condition: it is the agent's, and pending or approved.
    CancelApproval {
        /// Which approval.
        id: ApprovalId,
        /// Whose.
        agent: AgentName,
        /// When.
        at: Timestamp,
    },
    /// The gateway takes back what it has held and could not tell the agent of: an identical call is a new call at once.
    /// Condition: it is pending; what people approved by then is sent.
    WithdrawHold {
        /// Which approval.
        id: ApprovalId,
        /// When.
        at: Timestamp,
    },
    /// Nobody decided, or executed, in time. Condition: the deadline has passed at `at`.
    ExpireApproval {
        /// Which approval.
        id: ApprovalId,
        /// When.
        at: Timestamp,
    },
    /// A gateway is about to send the call; the event is the intent. Condition: it is approved, and its time has not
    /// passed at `at`. It holds once for an approval, whoever asks.
    ClaimApproval {
        /// Which approval.
        id: ApprovalId,
        /// The call that executes it.
        call: CallId,
        /// When.
        at: Timestamp,
    },
    /// How the execution ended; the event is the outcome. Condition: it is executing.
    CloseApproval(Box<Closed>),
    /// An operator says what became of it. Condition: they are active and may decide; its outcome is unknown.
    ResolveApproval {
        /// Which approval.
        id: ApprovalId,
        /// What became of it.
        outcome: Outcome,
        /// Who says so, and how they know.
        resolved: Resolved,
        /// When.
        at: Timestamp,
    },
}

/// A call that is to wait for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCall {
    /// What people see of it.
    pub held: Held,
    /// The whole call, sealed (`vault::Label::of_held_call`).
    pub call: SealedBody,
    /// How many pending ones its agent may have, this one among them.
    pub pending_max: u32,
}

/// How the execution of an approved call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which approval.
    pub id: ApprovalId,
    /// How.
    pub ending: Ending,
    /// The status that the agent is answered with; `None` where that is not known.
    pub http_status: Option<u16>,
    /// The code of what went wrong, where there is no answer of the upstream.
    pub ended_with: Option<String>,
    /// The answer, sealed.
    pub answer: Option<SealedBody>,
    /// What is remembered under the idempotency key that came with the call: from now on it answers too.
    pub key: Option<(IdempotencyClaim, Settled)>,
    /// When.
    pub at: Timestamp,
}

/// Ciphertext of a body.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBody(pub Vec<u8>);

impl fmt::Debug for SealedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBody({} bytes)", self.0.len())
    }
}

/// An idempotency key and the one call that may be made under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// Whose key.
    pub agent: AgentName,
    /// The key.
    pub key: IdempotencyKey,
    /// The call digest: another request under the same key is told apart by it.
    pub fingerprint: [u8; 32],
    /// The call.
    pub call: CallId,
    /// Since when.
    pub at: Timestamp,
    /// Until when the key is remembered.
    pub expires_at: Timestamp,
}

/// What is known of a call that was made under an idempotency key.
#[derive(Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was answered: the answer, sealed.
    Answered(Vec<u8>),
    /// It may have happened, and its answer is lost. It is never made again under this key.
    Unknown,
    /// Nothing was sent: the key is as if it had never been used.
    NotSent,
}
impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(sealed) => write!(f, "Answered({} bytes)", sealed.len()),
            Self::Unknown => f.write_str("Unknown"),
            Self::NotSent => f.write_str("NotSent"),
        }
    }
}

/// What became of an entry.
#[derive(Debug)]
pub enum Applied {
    /// It is written, and as durable as the store's [`crate::Sync`] says.
    Done,
    /// The change's condition did not hold; neither change nor event is written.
    ConditionFailed,
    /// This entry cannot be written, though others of its group can; or, where the error is not
    /// [of one entry](StoreError::is_of_one_entry), the store failed after others were written: it can be tried again.
    Failed(StoreError),
}
