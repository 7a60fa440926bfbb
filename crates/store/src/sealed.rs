//! Sealed values: by name, and all of them wherever they are stored, so that they can be sealed anew under a new term.
//! The store sees ciphertext only.

use crate::sql::{self, Row, Value};
use crate::{Store, StoreError};

/// A table with sealed values. Each value begins with a format byte and its term as 32 bits, big endian.
#[derive(Debug)]
pub struct SealedTable {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key, texts all.
    keys: &'static [&'static str],
    /// The column that holds the value. Rows where it is null have none.
    value: &'static str,
    /// SQL expressions of the value's label: purpose (as `vault::Purpose` writes it, with `/` and the name where the table
    /// keeps both in one), service, origin, name, version.
    label: [&'static str; 5],
}

/// Every table with sealed values. A new one belongs here, else rotating the vault leaves its values behind.
const TABLES: &[SealedTable] = &[
    // Named `purpose` where an install has one such value, else `purpose/name`.
    SealedTable { name: "sealed", keys: &["name"], value: "value", label: ["name", "''", "''", "''", "0"] },
    SealedTable {
        name: "credentials",
        keys: &["service", "name"],
        value: "sealed",
        label: ["'credential'", "service", "origin", "name", "version"],
    },
    // An answer belongs to its agent, where others belong to a service.
    SealedTable {
        name: "idempotency",
        keys: &["agent", "key"],
        value: "answer",
        label: ["'stored-answer'", "agent", "''", "key", "0"],
    },
    // Version 1, so that no idempotency key is taken for an approval's id: see `vault::Label::of_held_call`.
    SealedTable {
        name: "approval_bodies",
        keys: &["approval", "purpose"],
        value: "sealed",
        label: ["purpose", "agent", "''", "approval", "1"],
    },
];

/// Answers of APIs are sealed too: a page must not fill the memory, nor its replacement hold up other writers.
const PAGE_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// A sealed value, where it lies, and what it is.
#[derive(Debug, Clone)]
pub struct SealedRow {
    /// Where it lies.
    pub place: SealedPlace,
    /// The word of its purpose.
    pub purpose: String,
    /// The service of its label.
    pub service: String,
    /// The origin of its label.
    pub origin: String,
    /// The name of its label.
    pub name: String,
    /// The version of its label.
    pub version: u64,
    /// The sealed value.
    pub value: Vec<u8>,
}

/// A row of a table with sealed values.
#[derive(Debug, Clone)]
pub struct SealedPlace {
    /// Its table.
    pub table: &'static SealedTable,
    keys: Vec<String>,
}

impl Store {
    /// The sealed value of that name: `purpose`, or `purpose/name`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT value FROM sealed WHERE name = $1";
        Ok(sql::query_scalar(select).bind(name).fetch_optional(&self.readers).await?)
    }

    /// Stores a value unless the name has one; returns the one that it has now. Whoever comes first wins.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut writer = self.writer.lock().await;
        let insert = "INSERT INTO sealed (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        sql::query(insert).bind(name).bind(value).execute(&mut writer.connection().await?).await?;
        let select = "SELECT value FROM sealed WHERE name = $1";
        Ok(sql::query_scalar(select).bind(name).fetch_one(&mut writer.connection().await?).await?)
    }

    /// The tables with sealed values.
    #[must_use]
    pub fn sealed_tables(&self) -> &'static [SealedTable] {
        TABLES
    }

    /// Up to `count` sealed values of a table in the order of its key, behind the row `after`; with `below` only
    /// those that an older term seals. Together they have at most 8 MiB, unless a single one has more.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn sealed_page(
        &self,
        table: &'static SealedTable,
        after: Option<&SealedPlace>,
        below: Option<u32>,
        count: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let SealedTable { name, value, .. } = table;
        let (columns, label) = (table.keys.join(", "), table.label.join(", "));
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut which = format!("FROM {name} WHERE {value} IS NOT NULL");
        if let Some(term) = below {
            values.push(term.to_be_bytes().to_vec().into());
            which.push_str(&format!(" AND substr({value}, 2, 4) < ${}", values.len()));
        }
        if let Some(place) = after {
            let first = values.len() + 1;
            values.extend(place.keys.iter().map(Value::from));
            which.push_str(&format!(" AND ({columns}) > ({})", places(first, values.len())));
        }
        which.push_str(&format!(" ORDER BY {columns} LIMIT"));
        let bound =
            |select| values.iter().fold(sql::assembled(select), |query, value| query.bind(value.clone()));
        let lengths =
            bound(format!("SELECT length({value}) {which} {count}")).fetch_all(&self.readers).await?;
        let (mut rows, mut bytes) = (0, 0i64);
        for row in &lengths {
            bytes = bytes.saturating_add(row.try_get(0)?);
            if rows > 0 && bytes > PAGE_BYTES_MAX {
                break;
            }
            rows += 1;
        }
        let page = bound(format!("SELECT {label}, {value}, {columns} {which} {rows}"));
        page.fetch_all(&self.readers).await?.iter().map(|row| sealed_row(table, row)).collect()
    }

    /// Replaces sealed values in one transaction, each only while it still is what it was; how many were.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; then none is replaced.
    pub async fn sealed_replace(
        &self,
        replacements: &[(SealedPlace, Vec<u8>, Vec<u8>)],
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let mut replaced = 0;
        for (place, old, new) in replacements {
            let SealedTable { name, value, keys, .. } = place.table;
            let is_row = format!("({}) = ({})", keys.join(", "), places(3, keys.len() + 2));
            let update = format!("UPDATE {name} SET {value} = $1 WHERE {value} = $2 AND {is_row}");
            let query = sql::assembled(update).bind(new.as_slice()).bind(old.as_slice());
            let query = place.keys.iter().fold(query, |query, key| query.bind(key));
            replaced += query.execute(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(replaced)
    }

    /// How many values each term seals, by term. Values that name no term count under 0.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_counts(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        let mut counts = std::collections::BTreeMap::new();
        for SealedTable { name, value, .. } in TABLES {
            let select = format!(
                "SELECT substr({value}, 2, 4), count(*) FROM {name} WHERE {value} IS NOT NULL GROUP BY 1"
            );
            for row in sql::assembled(select).fetch_all(&self.readers).await? {
                let term: Vec<u8> = row.try_get(0)?;
                let term = term.as_slice().try_into().map_or(0, u32::from_be_bytes);
                *counts.entry(term).or_default() += u64::try_from(row.try_get::<i64>(1)?).unwrap_or(0);
            }
        }
        Ok(counts.into_iter().collect())
    }
}

/// `$first, … $last`.
fn places(first: usize, last: usize) -> String {
    (first..=last).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

fn sealed_row(table: &'static SealedTable, row: &Row) -> Result<SealedRow, StoreError> {
    let keys = (0..table.keys.len()).map(|at| row.try_get(6 + at)).collect::<Result<_, _>>()?;
    let (purpose, own): (String, String) = (row.try_get(0)?, row.try_get(3)?);
    let (purpose, name) = match purpose.split_once('/') {
        Some((purpose, name)) => (purpose.to_owned(), name.to_owned()),
        None => (purpose, own),
    };
    Ok(SealedRow {
        place: SealedPlace { table, keys },
        purpose,
        service: row.try_get(1)?,
        origin: row.try_get(2)?,
        name,
        version: u64::try_from(row.try_get::<i64>(4)?).map_err(|_| StoreError::damaged("a version"))?,
        value: row.try_get(5)?,
    })
}
