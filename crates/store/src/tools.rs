//! What is known about services' tools, as rows. What a list means is for the domain to say; here it is stored, unless
//! another gateway was quicker, and read back.

use std::sync::Arc;

use domain::{
    names::ServiceName,
    risk::ToolHint,
    tools::{Definition, KnownTool, Pinned, ServiceTools, ToolHash},
};
use jiff::Timestamp;

use crate::{
    Store, StoreError,
    row::{micros, time},
    sql::{self, Connection, Row},
};

/// A service's tools, as they are to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutTools {
    /// Whose.
    pub service: ServiceName,
    /// Where they are ([`domain::tools::place_of`]). Those of another place are forgotten.
    pub place: [u8; 32],
    /// The revision that this was worked out from; `None`: nothing was kept.
    pub replaces: Option<i64>,
    /// Whether a whole list was seen.
    pub listed: bool,
    /// Those that are new or other than before.
    pub put: Vec<PutTool>,
    /// The names of those to be forgotten.
    pub gone: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// One tool, as it is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutTool {
    /// Its name.
    pub name: String,
    /// What tells its definition from others.
    pub hash: ToolHash,
    /// What it says about itself.
    pub hint: ToolHint,
    /// Its definition, where it is not too large.
    pub definition: Option<Arc<str>>,
    /// Whether this definition may be called from now on, though no operator has looked at it.
    pub pinned: bool,
}

/// A tool as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTool {
    /// Its name: foreign text.
    pub name: String,
    /// What is known of it.
    pub known: KnownTool,
    /// Its definition, as canonical JSON; `None`: it is too large to be kept.
    pub definition: Option<String>,
    /// Since when it is so.
    pub seen_at: Timestamp,
    /// The definition that may be called, where there is one.
    pub accepted_definition: Option<String>,
    /// Since when.
    pub accepted_at: Option<Timestamp>,
    /// The operator who accepted it; `None`: it was there at first use.
    pub accepted_by: Option<String>,
}

const COLUMNS: &str = "SELECT name, hash, hint, definition, seen_at, accepted_hash, accepted_definition, \
                       accepted_at, accepted_by FROM tools WHERE service = $1 ORDER BY name";

impl Store {
    /// What is known of a service's tools; `None`: no list was seen.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn tools(&self, service: &ServiceName) -> Result<Option<ServiceTools>, StoreError> {
        Ok(self.stored_tools(service).await?.map(|(tools, _)| tools))
    }

    /// The same, and each tool as people see it, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn stored_tools(
        &self,
        service: &ServiceName,
    ) -> Result<Option<(ServiceTools, Vec<StoredTool>)>, StoreError> {
        let mut transaction = self.readers.begin().await?;
        let select = "SELECT place, revision, listed FROM tool_lists WHERE service = $1";
        let row = sql::query(select).bind(service.as_str()).fetch_optional(&mut transaction).await?;
        let Some(row) = row else { return Ok(None) };
        let rows = sql::query(COLUMNS).bind(service.as_str()).fetch_all(&mut transaction).await?;
        let place = row.try_get::<&[u8]>(0)?.try_into().map_err(|_| damaged(service))?;
        let stored: Vec<StoredTool> = rows.iter().map(|row| tool(row, service)).collect::<Result<_, _>>()?;
        let tools = stored.iter().map(|tool| (tool.name.clone(), Arc::new(tool.known.clone()))).collect();
        let tools =
            ServiceTools { place, revision: row.try_get(1)?, listed: row.try_get::<i64>(2)? == 1, tools };
        Ok(Some((tools, stored)))
    }
}

/// The revision of each service's tools.
pub async fn revisions(connection: &mut Connection<'_>) -> Result<Vec<(ServiceName, i64)>, StoreError> {
    let select = "SELECT service, revision FROM tool_lists ORDER BY service";
    let rows = sql::query(select).fetch_all(connection).await?;
    let revision = |row: &Row| {
        let service = ServiceName::parse(row.try_get(0)?);
        Ok((service.map_err(|_| StoreError::damaged("a list of tools"))?, row.try_get(1)?))
    };
    rows.iter().map(revision).collect()
}

/// Whether the tools were kept: nobody else was quicker, and the service is there.
pub async fn put(connection: &mut Connection<'_>, tools: &PutTools) -> Result<bool, StoreError> {
    let statement = match tools.replaces {
        None => {
            "INSERT INTO tool_lists (service, place, listed, revision) \
             SELECT name, $2, $3, (SELECT number + 1 FROM revisions WHERE area = 'world') \
             FROM services WHERE name = $1 ON CONFLICT DO NOTHING"
        }
        Some(_) => {
            "UPDATE tool_lists SET place = $2, listed = $3, \
             revision = (SELECT number + 1 FROM revisions WHERE area = 'world') \
             WHERE service = $1 AND revision = $4"
        }
    };
    let service = tools.service.as_str();
    let query = sql::query(statement).bind(service);
    let query = query.bind(tools.place.as_slice()).bind(i64::from(tools.listed));
    let query = match tools.replaces {
        None => query,
        Some(revision) => query.bind(revision),
    };
    if query.execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    for name in &tools.gone {
        let delete = "DELETE FROM tools WHERE service = $1 AND name = $2";
        sql::query(delete).bind(service).bind(name).execute(&mut *connection).await?;
    }
    for tool in &tools.put {
        let upsert = "INSERT INTO tools (service, name, hash, hint, definition, seen_at) \
                      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (service, name) DO UPDATE \
                      SET hash = $3, hint = $4, definition = $5, seen_at = $6";
        let query = sql::query(upsert).bind(service).bind(&tool.name).bind(tool.hash.0.as_slice());
        let query = query.bind(tool.hint.as_str()).bind(tool.definition.as_deref());
        query.bind(micros(tools.at)).execute(&mut *connection).await?;
        if tool.pinned {
            let update = "UPDATE tools SET accepted_hash = hash, accepted_definition = definition, \
                          accepted_at = $3, accepted_by = NULL \
                          WHERE service = $1 AND name = $2 AND (accepted_hash IS NULL OR accepted_hash <> hash)";
            let query = sql::query(update).bind(service).bind(&tool.name).bind(micros(tools.at));
            query.execute(&mut *connection).await?;
        }
    }
    Ok(true)
}

/// Whether the definition was accepted: it is the one that was shown, it is kept whole, and nobody accepted it before.
pub async fn accept(
    connection: &mut Connection<'_>,
    (service, tool): (&ServiceName, &str),
    hash: &ToolHash,
    (by, at): (&str, Timestamp),
) -> Result<bool, StoreError> {
    let update = "UPDATE tools SET accepted_hash = hash, accepted_definition = definition, accepted_at = $4, \
                  accepted_by = $5 WHERE service = $1 AND name = $2 AND hash = $3 AND definition IS NOT NULL \
                  AND (accepted_hash IS NULL OR accepted_hash <> hash OR accepted_by IS NULL)";
    let query = sql::query(update).bind(service.as_str()).bind(tool).bind(hash.0.as_slice());
    if query.bind(micros(at)).bind(by).execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    let update = "UPDATE tool_lists SET revision = (SELECT number + 1 FROM revisions WHERE area = 'world') \
                  WHERE service = $1";
    Ok(sql::query(update).bind(service.as_str()).execute(connection).await? > 0)
}

/// Forgets a service's tools.
pub async fn forget(connection: &mut Connection<'_>, service: &ServiceName) -> Result<(), StoreError> {
    for delete in ["DELETE FROM tools WHERE service = $1", "DELETE FROM tool_lists WHERE service = $1"] {
        sql::query(delete).bind(service.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

fn tool(row: &Row, service: &ServiceName) -> Result<StoredTool, StoreError> {
    let hash = |bytes: &[u8]| bytes.try_into().map(ToolHash).map_err(|_| damaged(service));
    let moment = |micros: i64| time(micros).ok_or_else(|| damaged(service));
    let definition: Option<String> = row.try_get(3)?;
    let accepted_hash = row.try_get::<Option<&[u8]>>(5)?.map(hash).transpose()?;
    let accepted_by: Option<String> = row.try_get(8)?;
    let kept = match &definition {
        None => None,
        Some(text) => Some(Definition::of_kept(text).ok_or_else(|| damaged(service))?),
    };
    let known = KnownTool {
        hash: hash(row.try_get(1)?)?,
        hint: ToolHint::parse(row.try_get(2)?).ok_or_else(|| damaged(service))?,
        schema: kept.and_then(|kept| kept.schema),
        bytes: definition.as_ref().map_or(0, String::len),
        pinned: accepted_hash.map(|hash| Pinned { hash, by_operator: accepted_by.is_some() }),
    };
    Ok(StoredTool {
        name: row.try_get(0)?,
        known,
        definition,
        seen_at: moment(row.try_get(4)?)?,
        accepted_definition: row.try_get(6)?,
        accepted_at: row.try_get::<Option<i64>>(7)?.map(moment).transpose()?,
        accepted_by,
    })
}

fn damaged(service: &ServiceName) -> StoreError {
    StoreError::damaged(format!("a tool of service `{service}`"))
}
