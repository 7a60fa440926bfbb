//! Changes as statements. Each says in its `WHERE` on what condition it happens; zero rows mean: not.

use std::collections::BTreeSet;

use domain::names::ServiceName;

use crate::sql::{self, Connection};
use crate::{
    Change, StoreError, approvals, credentials, idempotency, identities::state_word, keyring, kill,
    operators, retain, row::micros, services, sessions, tools, verifier,
};

/// Makes the change, if its condition holds; says whether it did. `node`: the gateway that claims.
pub async fn apply(connection: &mut Connection<'_>, change: &Change, node: i64) -> Result<bool, StoreError> {
    let done = match change {
        Change::CreateAgent(agent) => {
            let insert = "INSERT INTO agents (name, role, scope, state, created_at) VALUES ($1, $2, $3, $4, $5) \
                          ON CONFLICT DO NOTHING";
            let query = sql::query(insert).bind(agent.name.as_str()).bind(agent.role.as_str());
            let query = query.bind(scope_text(&agent.scope)).bind(state_word(agent.state));
            query.bind(micros(agent.created_at)).execute(connection).await?
        }
        Change::UpdateAgent { name, from: (was, had), role, scope } => {
            let update = "UPDATE agents SET role = $2, scope = $3 \
                          WHERE name = $1 AND state <> 'deleted' AND role = $4 AND scope = $5";
            let query = sql::query(update).bind(name.as_str()).bind(role.as_str());
            let query = query.bind(scope_text(scope)).bind(was.as_str()).bind(scope_text(had));
            query.execute(connection).await?
        }
        Change::SetAgentState { name, state, seen } => {
            let update = match seen {
                None => "UPDATE agents SET state = $2 WHERE name = $1 AND state <> $2 AND state <> 'deleted'",
                Some(_) => {
                    "UPDATE agents SET state = $2 WHERE name = $1 AND state <> $2 AND state <> 'deleted' \
                     AND role = $3 AND scope = $4 AND state = $5"
                }
            };
            let query = sql::query(update).bind(name.as_str()).bind(state_word(*state));
            let query = match seen {
                None => query,
                Some((role, scope, state)) => {
                    query.bind(role.as_str()).bind(scope_text(scope)).bind(state_word(*state))
                }
            };
            query.execute(connection).await?
        }
        Change::CreateKey(key) => {
            let insert = "INSERT INTO keys (id, agent, verifier, created_at, expires_at) \
                          SELECT $1, name, $3, $4, $5 FROM agents WHERE name = $2 AND state <> 'deleted' \
                          ON CONFLICT DO NOTHING";
            let query = sql::query(insert).bind(key.id.as_str()).bind(key.agent.as_str());
            let query = query.bind(verifier::write(&key.mac)).bind(micros(key.created_at));
            query.bind(key.expires_at.map(micros)).execute(connection).await?
        }
        Change::RevokeKey { id, at } => {
            let update = "UPDATE keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
            sql::query(update).bind(id.as_str()).bind(micros(*at)).execute(connection).await?
        }
        Change::PutService { service, replaces, documentation, keeps } => {
            let definition = serde_json::to_string(service).map_err(|_| StoreError::damaged("a service"))?;
            let text = match replaces {
                None => {
                    "INSERT INTO services (name, definition, revision) \
                     VALUES ($1, $2, (SELECT number + 1 FROM revisions WHERE area = 'world')) ON CONFLICT DO NOTHING"
                }
                Some(_) => {
                    "UPDATE services SET definition = $2, \
                     revision = (SELECT number + 1 FROM revisions WHERE area = 'world') \
                     WHERE name = $1 AND revision = $3"
                }
            };
            let query = sql::query(text).bind(service.name.as_str()).bind(definition);
            let query = match replaces {
                Some(revision) => query.bind(*revision),
                None => query,
            };
            let done = query.execute(&mut *connection).await?;
            if done > 0 {
                services::put_documentation(connection, &service.name, documentation.as_deref()).await?;
                credentials::drop_all_but(connection, &service.name, keeps).await?;
            }
            done
        }
        Change::RemoveService { name, seen } => {
            let delete = match seen {
                None => "DELETE FROM services WHERE name = $1",
                Some(_) => "DELETE FROM services WHERE name = $1 AND revision = $2",
            };
            let query = sql::query(delete).bind(name.as_str());
            let query = match seen {
                None => query,
                Some(revision) => query.bind(*revision),
            };
            let done = query.execute(&mut *connection).await?;
            if done > 0 {
                services::put_documentation(connection, name, None).await?;
                credentials::drop_all_but(connection, name, &BTreeSet::new()).await?;
                tools::forget(connection, name).await?;
            }
            done
        }
        Change::PutTools(put) => return tools::put(connection, put).await,
        Change::AcceptTool { service, tool, hash, by, at } => {
            return tools::accept(connection, (service, tool), hash, (by, *at)).await;
        }
        Change::PutCredential { service, origin, name, kind, version, replaces, sealed, at } => {
            if !services::takes_credential(connection, service, origin, (name, kind)).await? {
                return Ok(false);
            }
            let (place, versions) = ((service, name), (*version, *replaces));
            return credentials::put(connection, place, versions, (origin, sealed), *at).await;
        }
        Change::RemoveCredential { service, name, version } => {
            let update = "UPDATE credentials SET sealed = NULL \
                          WHERE service = $1 AND name = $2 AND version = $3 AND sealed IS NOT NULL";
            let query = sql::query(update).bind(service.as_str()).bind(name.as_str());
            query.bind(i64::try_from(*version).unwrap_or(i64::MAX)).execute(connection).await?
        }
        Change::DropOldest(oldest) => return retain::drop_oldest(connection, *oldest).await,
        Change::CreateOperator(operator) => return operators::create(connection, operator).await,
        Change::SetOperatorState { email, state, at } => {
            return operators::set_state(connection, email, *state, *at).await;
        }
        Change::SetOperatorRole { email, from, to } => {
            return operators::set_role(connection, email, *from, *to).await;
        }
        Change::ResetOperator { email, password_hash, replaces, at } => {
            let hashes = (replaces.as_deref(), password_hash.as_str());
            return operators::reset(connection, email, hashes, *at).await;
        }
        Change::CreateToken { token, password_hash } => {
            return operators::create_token(connection, token, password_hash).await;
        }
        Change::RevokeToken { id, at } => return operators::revoke_token(connection, *id, *at).await,
        Change::OpenSession { session, refresh, password_hash } => {
            return sessions::open(connection, session, refresh, password_hash).await;
        }
        Change::EndSession { id, at } => return sessions::end(connection, *id, *at).await,
        Change::TurnKillOn(kill) => return kill::turn_on(connection, kill).await,
        Change::TurnKillOff(kill) => return kill::turn_off(connection, kill).await,
        Change::ClaimIdempotency(claim) => return idempotency::claim_free(connection, claim, node).await,
        Change::SettleIdempotency { agent, key, call, settled } => {
            return idempotency::settle(connection, agent, key, *call, settled).await;
        }
        Change::HoldCall(hold) => return approvals::hold(connection, hold).await,
        Change::DecideApproval { id, digest, approved_before, decided } => {
            return approvals::decide(connection, id, digest, *approved_before, decided).await;
        }
        Change::CancelApproval { id, agent, at } => {
            return approvals::cancel(connection, id, agent, *at).await;
        }
        Change::WithdrawHold { id, at } => return approvals::withdraw(connection, id, *at).await,
        Change::ExpireApproval { id, at } => return approvals::expire(connection, id, *at).await,
        Change::ClaimApproval { id, call, at } => {
            return approvals::claim(connection, id, (*call, node), *at).await;
        }
        Change::CloseApproval(closed) => return approvals::close(connection, closed).await,
        Change::ResolveApproval { id, outcome, resolved, at } => {
            return approvals::resolve(connection, id, *outcome, resolved, *at).await;
        }
        Change::SetKeyring { from, to, salt, at } => {
            return keyring::set(connection, from, to, salt.as_ref(), *at).await;
        }
    };
    Ok(done > 0)
}

/// The revision that the change moves: `world` where running gateways must read their snapshot again.
pub fn area(change: &Change) -> Option<&'static str> {
    match change {
        Change::DropOldest(_)
        | Change::CreateOperator(_)
        | Change::SetOperatorState { .. }
        | Change::SetOperatorRole { .. }
        | Change::ResetOperator { .. }
        | Change::CreateToken { .. }
        | Change::RevokeToken { .. }
        | Change::OpenSession { .. }
        | Change::EndSession { .. }
        | Change::ClaimIdempotency(_)
        | Change::SettleIdempotency { .. } => None,
        Change::HoldCall(_)
        | Change::DecideApproval { .. }
        | Change::CancelApproval { .. }
        | Change::WithdrawHold { .. }
        | Change::ExpireApproval { .. }
        | Change::ClaimApproval { .. }
        | Change::CloseApproval(_)
        | Change::ResolveApproval { .. } => Some("approvals"),
        _ => Some("world"),
    }
}

/// Names have no blanks, so a blank parts them.
fn scope_text(scope: &BTreeSet<ServiceName>) -> String {
    scope.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" ")
}
