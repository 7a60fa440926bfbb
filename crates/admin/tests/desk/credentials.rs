//! Values of credentials go in, are bound to where they may be sent, and never come out.

use std::{collections::BTreeMap, sync::Arc};

use admin::{Actor, Admin, AdminError, SeenService, ServiceChange, SetCredential, WantedService, What, Why};
use domain::{
    credential::{CredentialKind, kind_of},
    names::{CredentialName, ServiceName},
    service::parse_declarations,
};
use store::{Query, Store};
use vault::{Label, Purpose, Secret, Vault};

use crate::install::{now, store, vault};

const BILLING: &str = "services:\n  - { name: billing, kind: http, url: https://api.example.com, \
                       credentials: [{ name: secret_key, kind: bearer }] }\n";

struct Desk {
    admin: Admin,
    store: Arc<Store>,
    vault: Vault,
    actor: Actor,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new(services: &str) -> Self {
        let (store, folder) = store().await;
        let vault = vault(&store).await;
        let (admin, actor) = (Admin::new(store.clone()), Actor::os_user("ada"));
        let desk = Self { admin, store, vault, actor, _folder: folder };
        desk.apply(services).await;
        desk
    }

    async fn apply_with(&self, text: &str, documentation: Option<&str>) -> ServiceChange {
        let declared = parse_declarations("services.yaml", text).unwrap().remove(0);
        let wanted =
            WantedService { service: declared.service, documentation: documentation.map(str::to_owned) };
        self.admin.apply_services(&self.actor, now(), vec![wanted]).await.unwrap().remove(0)
    }

    async fn apply(&self, text: &str) -> ServiceChange {
        self.apply_with(text, None).await
    }

    async fn set(
        &self,
        name: &str,
        kind: Option<CredentialKind>,
        value: &str,
    ) -> Result<SetCredential, AdminError> {
        let (name, value) = (credential(name), Secret::new(value.into()));
        self.admin.set_credential(&self.actor, now(), &self.vault, ("billing", &name), kind, &value).await
    }

    /// `name version`, or `name –`.
    async fn list(&self) -> Vec<String> {
        let views = self.admin.list_credentials("billing").await.unwrap();
        let version =
            |value: Option<admin::StoredValue>| value.map_or("–".to_owned(), |it| it.version.to_string());
        views.into_iter().map(|view| format!("{} {}", view.slot.name, version(view.value))).collect()
    }

    /// The opened value that a gateway would use.
    async fn opened(&self, name: &str, origin: &str) -> Option<String> {
        let all = self.store.snapshot().await.unwrap().credentials;
        let sealed = all.get("billing")?.iter().find(|it| it.name.as_str() == name)?.clone();
        let label =
            Label { purpose: Purpose::Credential, service: "billing", origin, name, version: sealed.version };
        let secret = self.vault.open_sealed(&label, &sealed.sealed).ok()?;
        Some(String::from_utf8(secret.reveal().to_vec()).unwrap())
    }

    async fn trail(&self) -> Vec<String> {
        assert!(self.store.verify(|_, _| {}).await.unwrap().ok);
        let events = self.store.events(&Query::default()).await.unwrap();
        events.into_iter().map(|event| event.rec).collect()
    }
}

fn credential(name: &str) -> CredentialName {
    CredentialName::parse(name).unwrap()
}

fn kind(word: &str, given: &[(&'static str, &str)]) -> Option<CredentialKind> {
    let given: BTreeMap<_, _> = given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Some(kind_of(word, &given).unwrap())
}

const ORIGIN: &str = "https://api.example.com:443";

#[tokio::test]
async fn a_value_is_sealed_for_its_origin_alone_and_told_by_its_hash() {
    let desk = Desk::new(BILLING).await;
    assert_eq!(desk.list().await, ["secret_key –"]);
    let set = desk.set("secret_key", None, "sk_live_swordfish").await.unwrap();
    assert_eq!((set.version, set.origin.as_str(), set.declared), (1, ORIGIN, true));
    assert_eq!(desk.opened("secret_key", ORIGIN).await.unwrap(), "sk_live_swordfish");
    assert_eq!(desk.opened("secret_key", "https://api.example.org:443").await, None);
    assert_eq!(desk.set("secret_key", None, "second").await.unwrap().version, 2);
    assert_eq!(desk.list().await, ["secret_key 2"]);
    let trail = desk.trail().await;
    assert!(trail.iter().all(|record| !record.contains("swordfish") && !record.contains("second")));
    let event = &trail[1];
    assert!(event.contains("\"credentials.set\"") && event.contains("\"sha256\":\""), "{event}");
    assert!(!event.contains("redacted") && event.contains("\"version\":1"), "{event}");
}

#[tokio::test]
async fn a_value_of_the_wrong_shape_changes_nothing() {
    let desk = Desk::new(BILLING).await;
    let before = desk.trail().await.len();
    for bad in ["", "two words", "line\nbreak", "nul\0"] {
        assert!(matches!(desk.set("secret_key", None, bad).await, Err(AdminError::BadValue(_))), "{bad:?}");
    }
    assert!(matches!(desk.set("other", kind("bearer", &[]), "x").await, Err(AdminError::BadSlot(_))));
    assert!(matches!(desk.set("other", kind("env", &[]), "x").await, Err(AdminError::BadSlot(_))));
    assert_eq!((desk.list().await, desk.trail().await.len()), (vec!["secret_key –".to_owned()], before));
}

#[tokio::test]
async fn a_credential_that_nobody_declared_is_added_with_its_kind() {
    let desk = Desk::new(BILLING).await;
    let error = desk.set("secretkey", None, "x").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "service `billing` has no credential `secretkey`; did you mean `secret_key`? to add it, say of which kind it is"
    );
    desk.set("secret_key", None, "one").await.unwrap();
    let set = desk.set("app", kind("header", &[("header", "X-App")]), "two").await.unwrap();
    assert!(!set.declared);
    assert_eq!(desk.list().await, ["app 1", "secret_key 1"], "the others keep their values");
    let service = desk.admin.show_service("billing").await.unwrap();
    assert_eq!(service.credentials[0].kind, kind("header", &[("header", "X-App")]).unwrap());
}

#[tokio::test]
async fn another_kind_takes_the_place_of_the_declared_one() {
    let desk = Desk::new(BILLING).await;
    desk.set("secret_key", None, "one").await.unwrap();
    let set = desk.set("secret_key", kind("query", &[("parameter", "key")]), "two").await.unwrap();
    assert_eq!((set.version, set.slot.kind.word(), set.declared), (2, "query", false));
    assert_eq!(desk.opened("secret_key", ORIGIN).await.unwrap(), "two");
}

#[tokio::test]
async fn another_origin_drops_the_values_and_says_so() {
    let desk = Desk::new(BILLING).await;
    desk.set("secret_key", None, "one").await.unwrap();
    let path = desk.apply(&BILLING.replace("example.com", "example.com/v2")).await;
    assert!(path.dropped.is_empty() && path.missing.is_empty(), "the same host and port: {path:?}");
    let moved = desk.apply(&BILLING.replace("example.com", "example.org")).await;
    assert_eq!((moved.dropped.len(), moved.dropped[0].why), (1, Why::OtherOrigin));
    assert_eq!(moved.missing, [credential("secret_key")]);
    assert_eq!(
        (desk.list().await, desk.opened("secret_key", ORIGIN).await),
        (vec!["secret_key –".to_owned()], None)
    );
    assert!(desk.trail().await.last().unwrap().contains("\"dropped\":[\"secret_key\"]"));
    assert_eq!(desk.set("secret_key", None, "two").await.unwrap().version, 2, "no version is given twice");
    for other in ["http://api.example.org", "https://api.example.org:8443"] {
        desk.apply(&BILLING.replace("https://api.example.com", other)).await;
        assert_eq!(desk.list().await, ["secret_key –"], "{other}");
        desk.set("secret_key", None, "three").await.unwrap();
    }
}

#[tokio::test]
async fn applying_replaces_the_whole_list() {
    let two = BILLING.replace("kind: bearer }", "kind: bearer }, { name: app, kind: header, header: X-App }");
    let desk = Desk::new(&two).await;
    desk.set("secret_key", None, "one").await.unwrap();
    desk.set("app", None, "two").await.unwrap();
    assert_eq!(desk.apply(&two).await.what, What::Same);
    let renamed = desk.apply(&two.replace("X-App", "X-Other")).await;
    assert!(renamed.dropped.is_empty(), "the same kind: {renamed:?}");
    let gone = desk.apply(BILLING).await;
    assert_eq!((gone.dropped[0].name.as_str(), gone.dropped[0].why), ("app", Why::Undeclared));
    assert_eq!(desk.list().await, ["secret_key 1"]);
    let other = desk.apply(&BILLING.replace("bearer", "basic")).await;
    assert_eq!((other.dropped[0].why, other.missing.len()), (Why::OtherKind, 1));
    assert_eq!(desk.apply(&two).await.missing.len(), 2, "a dropped value does not come back");
}

#[tokio::test]
async fn a_removed_service_takes_its_values_along() {
    let desk = Desk::new(BILLING).await;
    desk.set("secret_key", None, "one").await.unwrap();
    let billing = ServiceName::parse("billing").unwrap();
    let dropped = desk.admin.remove_service(&desk.actor, now(), &billing, None).await.unwrap();
    assert_eq!(dropped, [credential("secret_key")]);
    let again = desk.apply(BILLING).await;
    assert_eq!((again.what, again.missing), (What::Added, vec![credential("secret_key")]));
    assert_eq!(desk.list().await, ["secret_key –"]);
}

#[tokio::test]
async fn removing_a_value_leaves_the_slot() {
    let desk = Desk::new(BILLING).await;
    let remove = async |name: &str| {
        desk.admin.remove_credential(&desk.actor, now(), "billing", &credential(name)).await
    };
    assert_eq!(
        remove("secret_key").await.unwrap_err().to_string(),
        "credential `secret_key` of `billing` has no value; look at the service"
    );
    assert!(matches!(remove("nothing").await, Err(AdminError::NoSuchCredential { .. })));
    desk.set("secret_key", None, "one").await.unwrap();
    remove("secret_key").await.unwrap();
    assert_eq!(desk.list().await, ["secret_key –"]);
}

#[tokio::test]
async fn documentation_is_stored_with_its_service() {
    let desk = Desk::new(BILLING).await;
    let billing = ServiceName::parse("billing").unwrap();
    let added = desk.apply_with(BILLING, Some("# Billing\n")).await;
    let What::Changed(differences) = added.what else { panic!("{added:?}") };
    assert_eq!((differences[0].field, differences[0].from.as_str()), ("documentation", "–"));
    assert_eq!(added.service.documentation.unwrap().bytes, 10);
    assert_eq!(desk.store.documentation(&billing).await.unwrap().as_deref(), Some("# Billing\n"));
    assert_eq!(desk.apply_with(BILLING, Some("# Billing\n")).await.what, What::Same);
    desk.set("app", kind("query", &[("parameter", "app")]), "x").await.unwrap();
    assert!(desk.store.documentation(&billing).await.unwrap().is_some(), "adding a credential keeps it");
    desk.apply(BILLING).await;
    assert_eq!(desk.store.documentation(&billing).await.unwrap(), None);
}

#[tokio::test]
async fn values_are_replaced_as_they_were_seen_or_not_at_all() {
    let desk = Desk::new(BILLING).await;
    let name = CredentialName::parse("secret_key").unwrap();
    let value = |text: &str| vec![(name.clone(), Secret::new(text.as_bytes().to_vec()))];
    let replace = async |seen: &SeenService, values: &[(CredentialName, Secret)]| {
        desk.admin.replace_credentials(&desk.actor, now(), &desk.vault, seen, values).await
    };
    let version = async || desk.admin.list_credentials("billing").await.unwrap()[0].value.map(|v| v.version);
    let empty = desk.admin.see_service("billing").await.unwrap();
    replace(&empty, &value("sk_first")).await.unwrap();
    assert_eq!(version().await, Some(1));
    let late = replace(&empty, &value("sk_late")).await.unwrap_err();
    assert!(matches!(late, AdminError::ChangedMeanwhile(_)), "{late}");
    let full = desk.admin.see_service("billing").await.unwrap();
    assert!(replace(&full, &value("two words")).await.is_err());
    assert_eq!(version().await, Some(1), "all are looked at before one is set");
    replace(&full, &[]).await.unwrap();
    assert_eq!(version().await, None, "what is not named has none any more");
    assert!(replace(&full, &value("sk_late")).await.is_err());
    let again = desk.admin.see_service("billing").await.unwrap();
    replace(&again, &value("sk_again")).await.unwrap();
    assert_eq!(version().await, Some(2), "no version is given twice");
    desk.apply_with(BILLING, Some("# Billing")).await;
    let stale = replace(&again, &value("sk_late")).await.unwrap_err();
    assert!(matches!(stale, AdminError::ChangedMeanwhile(_)), "{stale}");
}
