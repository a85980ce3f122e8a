//! What the model says next.
//!
//! For: choosing, by the task, between a literal script in the task's text and the plays for the demo's cards.
//! Guarantees: a pure function of the conversation, so a repeated request gets the same answer, and a conversation
//! that starts anew (a second attempt) starts its script anew.
//!
//! A literal script is a fenced block of the language `agentworks-script`, a JSON list of steps:
//!
//! | step | meaning |
//! |---|---|
//! | `{"tool": "read_file", "input": {"path": "a"}}` | one turn with this call; `"repeat": 3` makes it three turns |
//! | `{"tool": "read_file", "raw_input": "{\"pa"}` | the same, with an input that need not be JSON |
//! | `{"parallel": [{"tool": …, "input": …}, …]}` | one turn with several calls |
//! | `{"say": "text"}` | text before the calls of the same turn; at the end of the script, the last words |
//! | `{"end": "text"}` | a turn with text alone, which ends the model's turn |
//! | `{"hold": "name"}` | the next turn waits until the gate of that name is released |
//! | `{"fault": {"status": 529, "times": 2}}` | the next turn is spoiled so often, see [`super::Fault`] |

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::conversation::{Call, Conversation, Reply};
use super::faults::Fault;
use super::plays;

/// The script in the task cannot be followed.
#[derive(Debug, Error)]
#[error("the agentworks-script block cannot be read: {0}")]
pub(super) struct ScriptError(#[from] serde_json::Error);

/// What comes before an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// Waiting at a gate.
    Hold(String),
    /// A fault, with its place in the script.
    Fault(usize, Fault),
}

/// The next turn, and what comes before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) before: Vec<Before>,
    pub(super) reply: Reply,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallStep {
    tool: String,
    input: Option<Value>,
    raw_input: Option<String>,
}

/// A step as it is written; one may combine several of the kinds above.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    say: Option<String>,
    end: Option<String>,
    hold: Option<String>,
    fault: Option<Fault>,
    tool: Option<String>,
    input: Option<Value>,
    raw_input: Option<String>,
    repeat: Option<usize>,
    #[serde(default)]
    parallel: Vec<CallStep>,
}

/// The next turn of this conversation.
pub(super) fn next(conversation: &Conversation) -> Result<Answer, ScriptError> {
    let Some(text) = literal(&conversation.task) else {
        let reply = plays::next(conversation);
        return Ok(Answer { before: Vec::new(), reply });
    };
    let steps: Vec<Step> = serde_json::from_str(text)?;
    Ok(follow(steps, conversation.turns))
}

/// The text of the literal script, if the task has one.
fn literal(task: &str) -> Option<&str> {
    let (_, after) = task.split_once("```agentworks-script")?;
    let (_, block) = after.split_once('\n')?;
    Some(block.split_once("```").map_or(block, |(inside, _)| inside))
}

/// The turn of this number, from 0.
fn follow(steps: Vec<Step>, turn: usize) -> Answer {
    let mut before = Vec::new();
    let mut said = String::new();
    let mut turns_left = turn;
    for (place, step) in steps.into_iter().enumerate() {
        before.extend(step.hold.map(Before::Hold));
        before.extend(step.fault.map(|fault| Before::Fault(place, fault)));
        said.extend(step.say);
        let mut calls: Vec<CallStep> = step.parallel;
        calls.extend(step.tool.map(|tool| CallStep { tool, input: step.input, raw_input: step.raw_input }));
        let is_turn = !calls.is_empty() || step.end.is_some();
        said.extend(step.end);
        if !is_turn {
            continue;
        }
        let times = step.repeat.unwrap_or(1);
        if turns_left < times {
            let reply = Reply { text: said, calls: calls.into_iter().map(call).collect(), truncated: false };
            return Answer { before, reply };
        }
        turns_left -= times;
        before.clear();
        said.clear();
    }
    // After its last step a script has only its last words, however often it is asked.
    if said.is_empty() {
        said = "The script has ended.".to_owned();
    }
    Answer { before, reply: Reply::text(said) }
}

fn call(step: CallStep) -> Call {
    let input = step.raw_input.unwrap_or_else(|| {
        let input = step.input.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        input.to_string()
    });
    Call { name: step.tool, input }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(script: &str, turns: usize) -> Answer {
        let task = format!("Do this:\n\n```agentworks-script\n{script}\n```\n\nThanks.");
        next(&Conversation { task, turns, ..Conversation::default() }).unwrap()
    }

    #[test]
    fn follows_a_literal_script_turn_by_turn() {
        let script = r#"[
            {"say": "First. "}, {"tool": "a", "input": {"x": 1}},
            {"hold": "gate"}, {"fault": {"status": 429, "times": 2}}, {"tool": "b", "repeat": 2},
            {"parallel": [{"tool": "c"}, {"tool": "d", "raw_input": "{"}]},
            {"end": "Pause."},
            {"say": "Bye."}
        ]"#;
        let first = answer(script, 0);
        assert_eq!(first.reply.text, "First. ");
        assert_eq!(first.reply.calls[0].input, r#"{"x":1}"#);
        let fault = Fault::status(429).times(2);
        let gated = vec![Before::Hold("gate".into()), Before::Fault(3, fault)];
        assert_eq!(answer(script, 1).before, gated);
        assert_eq!(answer(script, 2).reply.calls[0].name, "b");
        let parallel = answer(script, 3);
        assert!(parallel.before.is_empty());
        assert_eq!(parallel.reply.calls[1].input, "{");
        assert_eq!(answer(script, 4).reply, Reply::text("Pause."));
        assert_eq!(answer(script, 5).reply, Reply::text("Bye."));
        assert_eq!(answer(script, 9).reply, Reply::text("Bye."));
    }

    #[test]
    fn an_unreadable_script_is_an_error() {
        for script in ["nonsense", r#"[{"tol": "x"}]"#, r#"[{"fault": {"stat": 1}}]"#] {
            let task = format!("```agentworks-script\n{script}\n```");
            let conversation = Conversation { task, ..Conversation::default() };
            assert!(next(&conversation).is_err(), "{script}");
        }
    }
}
