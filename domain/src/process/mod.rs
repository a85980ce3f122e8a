//! Process managers: events in, commands out, without any I/O. Their shells are in `workers`.

pub mod run_card;
