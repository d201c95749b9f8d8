//! Where released runs are put: once for each generation, and what it is decided from.

use schemas::ids::{Generation, ProjectName, RunId, RunnerId};
use schemas::streams::Place;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Result, Store, StoreError};
use crate::placement::{Sharing, Sight};

/// A runner out of a column that may be empty.
pub(super) fn runner(row: &AnyRow, column: &str) -> Result<Option<RunnerId>> {
    let name: Option<String> = row.try_get(column)?;
    Ok(name.filter(|name| !name.is_empty()).map(|name| name.parse()).transpose()?)
}

/// The place of a run out of its row, if it is decided.
pub(super) fn read_place(row: &AnyRow) -> Result<Option<Place>> {
    let text: Option<String> = row.try_get("place")?;
    Ok(match text.as_deref() {
        None | Some("") => None,
        Some("any") => Some(Place::Any),
        Some(at) => Some(Place::At(at.trim_start_matches("at.").parse()?)),
    })
}

/// A place as it is stored.
pub(super) fn place_text(place: &Place) -> String {
    match place {
        Place::Any => "any".to_owned(),
        Place::At(runner) => format!("at.{runner}"),
    }
}

impl Store {
    /// Every runner that was seen of late, as it was seen last.
    pub(crate) async fn sights(&self) -> Result<Vec<Sight>> {
        let rows = sqlx::query(
            "SELECT presence, seen_ms FROM runners WHERE presence IS NOT NULL ORDER BY state_id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let text: String = row.try_get("presence")?;
                let presence = serde_json::from_str(&text)
                    .map_err(|source| StoreError::BadJson { what: "presence", source })?;
                Ok(Sight { presence, seen_ms: row.try_get("seen_ms")? })
            })
            .collect()
    }

    /// Puts a released run at a place, unless it has one in this generation. Returns where it is;
    /// `None`: it is not released in this generation any more, or its project has another owner by
    /// now.
    pub(crate) async fn put(
        &self,
        run: (&RunId, Generation),
        project: (&ProjectName, Sharing),
        place: &Place,
    ) -> Result<Option<Place>> {
        let mut tx = self.begin_write().await?;
        if let (Sharing::Exclusive, Place::At(owner)) = (project.1, place) {
            // Whoever changes the owner does so under this row, and then moves what was put.
            let is_owner = sqlx::query(
                "UPDATE owners SET since_ms = since_ms WHERE project = $1 AND runner = $2",
            )
            .bind(project.0.as_str())
            .bind(owner.as_str())
            .execute(&mut *tx)
            .await?;
            if is_owner.rows_affected() == 0 {
                return Ok(None);
            }
        }
        let generation = i64::from(run.1.0);
        sqlx::query(
            "UPDATE runs SET place = $3
              WHERE run = $1 AND generation = $2 AND state = 'released' AND place IS NULL",
        )
        .bind(run.0.as_str())
        .bind(generation)
        .bind(place_text(place))
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query(
            "SELECT place FROM runs WHERE run = $1 AND generation = $2 AND state = 'released'",
        )
        .bind(run.0.as_str())
        .bind(generation)
        .fetch_optional(&mut *tx)
        .await?;
        let place = row.as_ref().map(read_place).transpose()?.flatten();
        tx.commit().await?;
        Ok(place)
    }
}
