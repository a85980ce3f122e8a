//! The platform's checkpoints, as they are put in places outside.
//!
//! The newest is at `checkpoint`, each one for good at `checkpoints/<size>`.

use object_store::{ObjectStoreExt as _, PutPayload};

use crate::{Place, PlaceError};

/// The newest checkpoint that stands there. `None` when there is none, or the place does not give out what it has.
pub(super) async fn read(place: &Place) -> Result<Option<String>, PlaceError> {
    match place.store.get(&place.at("checkpoint")).await {
        Ok(found) => {
            let bytes = found.bytes().await.map_err(|source| place.error(&source))?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(place.error(&source)),
    }
}

/// Puts a checkpoint there: first for good, then as the newest.
pub(super) async fn write(place: &Place, size: u64, note: &str) -> Result<(), PlaceError> {
    for name in [format!("checkpoints/{size:020}"), "checkpoint".to_owned()] {
        let payload = PutPayload::from(note.to_owned().into_bytes());
        place.store.put(&place.at(&name), payload).await.map_err(|source| place.error(&source))?;
    }
    Ok(())
}
