//! Sealed values: by name, and all of them wherever they lie, so that a new term can take them over. The store
//! sees ciphertext only.

use sqlx::{AssertSqlSafe, Row as _, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};

use crate::{Store, StoreError};

/// A table with sealed values. Each value begins with a format byte and its term as 32 bits, big endian.
#[derive(Debug)]
pub struct SealedTable {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key.
    keys: &'static [&'static str],
    /// The column that holds the value. Rows where it is null have none.
    value: &'static str,
    /// SQL expressions of the value's label: purpose (as `vault::Purpose` writes it), service, origin, name, version.
    label: [&'static str; 5],
}

/// Every table with sealed values. A new one belongs here, else rotating the vault leaves its values behind.
const TABLES: &[SealedTable] = &[
    // Named `purpose` where an install has one such value, else `purpose/name`.
    SealedTable {
        name: "sealed",
        keys: &["name"],
        value: "value",
        label: [
            "CASE instr(name, '/') WHEN 0 THEN name ELSE substr(name, 1, instr(name, '/') - 1) END",
            "''",
            "''",
            "CASE instr(name, '/') WHEN 0 THEN '' ELSE substr(name, instr(name, '/') + 1) END",
            "0",
        ],
    },
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
    keys: Vec<KeyPart>,
}

/// A column of a primary key.
#[derive(Debug, Clone)]
enum KeyPart {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Store {
    /// The sealed value of that name: `purpose`, or `purpose/name`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT value FROM sealed WHERE name = $1";
        Ok(sqlx::query_scalar(select).bind(name).fetch_optional(&self.readers).await?)
    }

    /// Stores a value unless the name has one; returns the one that it has now. Whoever comes first wins.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn sealed_put_if_absent(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut writer = self.writer.lock().await;
        let insert = "INSERT INTO sealed (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        sqlx::query(insert).bind(name).bind(value).execute(writer.connection()).await?;
        let select = "SELECT value FROM sealed WHERE name = $1";
        Ok(sqlx::query_scalar(select).bind(name).fetch_one(writer.connection()).await?)
    }

    /// The tables with sealed values.
    #[must_use]
    pub fn sealed_tables(&self) -> &'static [SealedTable] {
        TABLES
    }

    /// Up to `count` sealed values of a table in the order of its key, behind the row `after`; with `below` only
    /// those that an older term seals.
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
        let mut select = format!("SELECT {label}, {value}, {columns} FROM {name} WHERE {value} IS NOT NULL");
        if below.is_some() {
            select.push_str(&format!(" AND substr({value}, 2, 4) < ?"));
        }
        if after.is_some() {
            select.push_str(&format!(" AND ({columns}) > ({})", vec!["?"; table.keys.len()].join(", ")));
        }
        select.push_str(&format!(" ORDER BY {columns} LIMIT {count}"));
        let mut query = sqlx::query(AssertSqlSafe(select));
        if let Some(term) = below {
            query = query.bind(term.to_be_bytes().to_vec());
        }
        for key in after.iter().flat_map(|place| &place.keys) {
            query = key.bind_to(query);
        }
        query.fetch_all(&self.readers).await?.iter().map(|row| sealed_row(table, row)).collect()
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
            let is_row = keys.iter().map(|key| format!("{key} = ?")).collect::<Vec<_>>().join(" AND ");
            let update = format!("UPDATE {name} SET {value} = ? WHERE {is_row} AND {value} = ?");
            let mut query = sqlx::query(AssertSqlSafe(update)).bind(new.clone());
            for key in &place.keys {
                query = key.bind_to(query);
            }
            replaced += query.bind(old.clone()).execute(&mut *transaction).await?.rows_affected();
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
            for row in sqlx::query(AssertSqlSafe(select)).fetch_all(&self.readers).await? {
                let term: Vec<u8> = row.try_get(0)?;
                let term = term.as_slice().try_into().map_or(0, u32::from_be_bytes);
                *counts.entry(term).or_default() += u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
            }
        }
        Ok(counts.into_iter().collect())
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl KeyPart {
    fn bind_to<'q>(&self, query: Query<'q>) -> Query<'q> {
        match self {
            Self::Number(number) => query.bind(*number),
            Self::Text(text) => query.bind(text.clone()),
            Self::Bytes(bytes) => query.bind(bytes.clone()),
        }
    }

    fn of(row: &SqliteRow, at: usize) -> Result<Self, sqlx::Error> {
        let kind = row.try_get_raw(at)?.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "INTEGER" => Self::Number(row.try_get(at)?),
            "BLOB" => Self::Bytes(row.try_get(at)?),
            _ => Self::Text(row.try_get(at)?),
        })
    }
}

fn sealed_row(table: &'static SealedTable, row: &SqliteRow) -> Result<SealedRow, StoreError> {
    let keys =
        (0..table.keys.len()).map(|at| KeyPart::of(row, 6 + at)).collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(SealedRow {
        place: SealedPlace { table, keys },
        purpose: row.try_get(0)?,
        service: row.try_get(1)?,
        origin: row.try_get(2)?,
        name: row.try_get(3)?,
        version: u64::try_from(row.try_get::<i64, _>(4)?).map_err(|_| StoreError::damaged("a version"))?,
        value: row.try_get(5)?,
    })
}
