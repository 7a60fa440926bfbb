//! The multi-row insert of Postgres: one statement for any number of rows, its values as one array for each column.

use domain::names::AgentName;
use sqlx::{Postgres, postgres::PgArguments, query::Query};

use super::{Head, Linked};
use crate::{postgres::writers_lock, row::micros, sql::without_nul};

/// It takes the writers' lock by itself, before the first row: so it is in turn with transactions that read the head
/// first. Where it came too late the primary key says so. Where what it follows is not there any more (another server has
/// taken over, and lost it) nothing is inserted.
const INSERT: &str = concat!(
    "WITH turn AS MATERIALIZED (",
    writers_lock!(),
    ") INSERT INTO audit (seq, at, kind, call_id, agent, service, action, result, rec, hash) ",
    "SELECT rows.* FROM turn, unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], ",
    "$7::text[], $8::text[], $9::text[], $10::bytea[]) AS rows ",
    "WHERE $11::bigint = 0 OR EXISTS (SELECT FROM audit WHERE seq = $11::bigint AND hash = $12::bytea)",
);

/// The statement that inserts these rows behind `after`, or none of them.
pub fn statement(rows: Vec<Linked<'_>>, after: Head) -> Query<'static, Postgres, PgArguments> {
    let count = rows.len();
    let [mut seqs, mut ats] = [(); 2].map(|()| Vec::with_capacity(count));
    let mut kinds = Vec::with_capacity(count);
    let [mut calls, mut agents, mut services, mut actions, mut results] =
        [(); 5].map(|()| Vec::with_capacity(count));
    let (mut records, mut hashes) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let text = |text: &str| without_nul(text.into()).into_owned();
    for row in rows {
        let event = row.event;
        seqs.push(row.seq);
        ats.push(micros(event.at));
        kinds.push(event.kind.as_str());
        calls.push(event.call_id.map(|id| id.to_string()));
        agents.push(event.agent.as_ref().map(|agent| AgentName::as_str(agent).to_owned()));
        services.push(event.service.as_deref().map(text));
        actions.push(event.action.as_deref().map(text));
        results.push(event.result.map(|result| result.as_str().to_owned()));
        records.push(row.record);
        hashes.push(row.hash.to_vec());
    }
    let query = sqlx::query(INSERT).bind(seqs).bind(ats).bind(kinds).bind(calls).bind(agents);
    let query = query.bind(services).bind(actions).bind(results).bind(records).bind(hashes);
    query.bind(after.seq).bind(after.hash.to_vec())
}
