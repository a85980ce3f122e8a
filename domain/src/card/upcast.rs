//! Lifts stored card events of older versions.

use cqrs_es::persist::EventUpcaster;

use crate::personal::OnceReadable;

pub(super) fn chain() -> Vec<Box<dyn EventUpcaster>> {
    vec![
        Box::new(OnceReadable("CardBlocked")),
        Box::new(OnceReadable("CardCommented")),
        Box::new(OnceReadable("CardRunFinished")),
    ]
}
