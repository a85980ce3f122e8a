//! Lanes: the columns of a board.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Invalid, LaneKey, Name};

/// What a lane means to runs, whatever people call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaneRole {
    /// Not planned yet.
    Backlog,
    /// Planned.
    Ready,
    /// Where a card goes while it runs.
    InProgress,
    /// Where a card goes after a successful run.
    Review,
    /// Finished: what depends on it may run.
    Done,
    /// Held up.
    Blocked,
    /// None of these.
    Other,
}

/// One column of a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// Stable within the project.
    pub key: LaneKey,
    /// What people call it.
    pub name: Name,
    /// What it means to runs.
    pub role: LaneRole,
    /// Whether a card may be run from it.
    pub runs_allowed: bool,
}

/// A board's lanes in order: 1 to 20 with different keys, and at most one for each of the roles that a run moves to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Lanes(Vec<Lane>);

impl Lanes {
    /// # Errors
    /// `lanes_empty`, `lanes_too_many`, `lane_key_repeated`, `lane_role_repeated`, `lane_done_missing`.
    pub fn new(lanes: Vec<Lane>) -> Result<Self, Invalid> {
        let bad = |code, problem: String| Invalid { field: "lanes", code, problem };
        if lanes.is_empty() {
            return Err(bad("lanes_empty", "a board needs at least one lane".into()));
        }
        if lanes.len() > 20 {
            return Err(bad("lanes_too_many", "a board may have at most 20 lanes".into()));
        }
        for (i, lane) in lanes.iter().enumerate() {
            if lanes[..i].iter().any(|other| other.key == lane.key) {
                return Err(bad("lane_key_repeated", format!("the key `{}` stands more than once", lane.key)));
            }
            let single = !matches!(lane.role, LaneRole::Other | LaneRole::Backlog);
            if single && lanes[..i].iter().any(|other| other.role == lane.role) {
                return Err(bad(
                    "lane_role_repeated",
                    format!("`{}` has a role that another lane has already", lane.key),
                ));
            }
        }
        if !lanes.iter().any(|lane| lane.role == LaneRole::Done) {
            return Err(bad(
                "lane_done_missing",
                "one lane must have the role `done`, or no dependency can be met".into(),
            ));
        }
        Ok(Self(lanes))
    }

    /// The lanes in order.
    pub fn as_slice(&self) -> &[Lane] {
        &self.0
    }

    /// The lane with that key.
    pub fn get(&self, key: &LaneKey) -> Option<&Lane> {
        self.0.iter().find(|lane| lane.key == *key)
    }

    /// The first lane with that role.
    pub fn with_role(&self, role: LaneRole) -> Option<&Lane> {
        self.0.iter().find(|lane| lane.role == role)
    }

    /// Where a new card goes when nobody says where.
    pub fn first(&self) -> Option<&Lane> {
        self.0.first()
    }
}

impl Default for Lanes {
    /// Backlog, Ready, In progress, Review, Done, Blocked. A card may be run from any but the last two.
    fn default() -> Self {
        let lane = |key: &str, name: &str, role, runs_allowed| {
            Some(Lane { key: LaneKey::new(key).ok()?, name: Name::new(name).ok()?, role, runs_allowed })
        };
        let all = [
            lane("backlog", "Backlog", LaneRole::Backlog, true),
            lane("ready", "Ready", LaneRole::Ready, true),
            lane("in-progress", "In progress", LaneRole::InProgress, true),
            lane("review", "Review", LaneRole::Review, true),
            lane("done", "Done", LaneRole::Done, false),
            lane("blocked", "Blocked", LaneRole::Blocked, false),
        ];
        Self(all.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_lanes_are_the_six_and_keep_the_rules() {
        let lanes = Lanes::default();
        let names: Vec<_> = lanes.as_slice().iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(names, ["Backlog", "Ready", "In progress", "Review", "Done", "Blocked"]);
        assert_eq!(Lanes::new(lanes.as_slice().to_vec()).unwrap(), lanes);
    }

    #[test]
    fn lanes_that_break_a_rule_are_refused() {
        let all = Lanes::default().as_slice().to_vec();
        let code = |lanes: Vec<Lane>| Lanes::new(lanes).unwrap_err().code;
        assert_eq!(code(vec![]), "lanes_empty");
        assert_eq!(code(vec![all[0].clone(); 21]), "lanes_too_many");
        assert_eq!(code([all.clone(), vec![all[0].clone()]].concat()), "lane_key_repeated");
        let mut twice = all[3].clone();
        twice.key = LaneKey::new("second-review").unwrap();
        assert_eq!(code([all.clone(), vec![twice]].concat()), "lane_role_repeated");
        assert_eq!(code(all[..4].to_vec()), "lane_done_missing");
    }
}
