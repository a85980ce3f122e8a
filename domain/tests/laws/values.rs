//! Ids, actors and ranks.

use domain::card::Rank;
use domain::{Actor, CardId, EventId, RunId};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::given::any_id;
use crate::law;

fn time() -> impl Strategy<Value = OffsetDateTime> {
    // From 1970 to the year 5000, in microseconds.
    (0_i64..95_617_584_000_000_000).prop_map(|micros| OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros))
}

/// Where a card is put next to others.
#[derive(Debug, Clone, Copy)]
enum Put {
    End,
    Start,
    Between(prop::sample::Index),
    Before(prop::sample::Index),
    After(prop::sample::Index),
}

fn put() -> impl Strategy<Value = Put> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        1 => Just(Put::End),
        1 => Just(Put::Start),
        6 => index().prop_map(Put::Between),
        1 => index().prop_map(Put::Before),
        1 => index().prop_map(Put::After),
    ]
}

proptest! {
    #![proptest_config(law::config())]

    #[test]
    fn an_id_is_read_as_it_was_written(id in any_id::<domain::id::CardKind>()) {
        let written = id.to_string();
        prop_assert_eq!(written.len(), "crd_".len() + 26);
        prop_assert_eq!(written.parse::<CardId>().unwrap(), id);
        prop_assert_eq!(serde_json::from_str::<CardId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        prop_assert!(written.parse::<RunId>().is_err(), "an id of one kind is none of another");
    }

    #[test]
    fn ids_sort_in_text_as_they_do_in_bytes(a in any::<u128>(), b in any::<u128>()) {
        let (a, b) = (EventId::from_uuid(Uuid::from_u128(a)), EventId::from_uuid(Uuid::from_u128(b)));
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        prop_assert_eq!(a.uuid().cmp(&b.uuid()), a.cmp(&b));
    }

    #[test]
    fn no_text_is_read_as_an_id_that_is_written_otherwise(text in "(crd_)?[0-9a-zA-Z_-]{0,30}") {
        if let Ok(id) = text.parse::<CardId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn no_text_makes_reading_an_id_or_an_actor_panic(text in any::<String>()) {
        let _ = text.parse::<CardId>();
        if let Ok(actor) = text.parse::<Actor>() {
            prop_assert_eq!(actor.to_string(), text);
        }
    }

    #[test]
    fn ranks_at_the_end_follow_the_clock(a in time(), b in time()) {
        prop_assert_eq!(Rank::end(a).cmp(&Rank::end(b)), a.cmp(&b));
    }

    #[test]
    fn just_before_and_just_after_stay_among_the_neighbours_from_the_end_of_the_lane(at in time(), times in 1_usize..50) {
        let next = Rank::end(at + Duration::microseconds(1));
        let (mut before, mut after) = (next.clone(), Rank::end(at));
        for _ in 0..times {
            let (closer, further) = (before.just_before(), after.just_after());
            prop_assert!(Rank::end(at) < closer && closer < before);
            prop_assert!(after < further && further < next);
            (before, after) = (closer, further);
        }
    }

    #[test]
    fn a_card_can_be_put_between_any_two_others(puts in prop::collection::vec(put(), 1..120)) {
        let mut clock = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let mut lane = vec![Rank::end(clock)];
        for put in puts {
            let rank = match put {
                Put::End => {
                    clock += Duration::microseconds(1);
                    Rank::end(clock)
                }
                Put::Start => lane[0].just_before(),
                Put::Between(index) => {
                    let at = index.index(lane.len());
                    let Some(high) = lane.get(at + 1) else { continue };
                    let rank = Rank::between(&lane[at], high);
                    prop_assert!(rank.is_some(), "no place between {} and {}", lane[at], high);
                    rank.unwrap()
                }
                Put::Before(index) => lane[index.index(lane.len())].just_before(),
                Put::After(index) => lane[index.index(lane.len())].just_after(),
            };
            prop_assert!(!rank.as_str().ends_with('0') && rank.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
            // Without the neighbours' names, two cards may be given the same place.
            let Err(at) = lane.binary_search(&rank) else { continue };
            if let Put::Between(index) = put {
                prop_assert_eq!(at, index.index(lane.len()) + 1, "it stands where it was put");
            }
            lane.insert(at, rank);
        }
        prop_assert!(lane.is_sorted());
    }

    #[test]
    fn between_is_none_unless_the_low_one_stands_before_the_high_one(a in time(), b in time()) {
        let (a, b) = (Rank::end(a), Rank::end(b));
        match Rank::between(&a, &b) {
            Some(middle) => prop_assert!(a < middle && middle < b),
            None => prop_assert!(a >= b),
        }
    }

    /// Stored ranks are read unchecked: whatever they hold, finding a place ends and never lies.
    #[test]
    fn a_stored_rank_that_breaks_the_rules_does_no_harm(a in "[0-9a-zA-Z]{0,6}", b in "[0-9a-z]{0,6}|\\PC{0,4}") {
        let read = |text: &str| -> Rank { serde_json::from_value(text.into()).unwrap() };
        for (low, high) in [(read(&a), read(&b)), (read(&b), read(&a)), (read(&a), read(&format!("{a}0")))] {
            let plain = |rank: &Rank| rank.as_str().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
            if let Some(middle) = Rank::between(&low, &high) && plain(&low) && plain(&high) {
                prop_assert!(low < middle && middle < high, "{} {} {}", low, middle, high);
            }
            prop_assert!(high.just_before() <= high || !plain(&high));
            prop_assert!(low < low.just_after());
        }
    }
}
