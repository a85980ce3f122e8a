//! What the demo shows: lines as things happen and, on a terminal, a line that tells what is going on now.

use std::io::{IsTerminal, Write};

/// The terminal, or whatever the output is piped into.
#[derive(Debug)]
pub struct Screen {
    live: bool,
    frame: usize,
    now: String,
}

const FRAMES: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠧", "⠇", "⠏"];

impl Screen {
    /// The standard output.
    pub fn stdout() -> Self {
        Self { live: std::io::stdout().is_terminal(), frame: 0, now: String::new() }
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away (a closed pipe) is no failure of the demo.
        let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.live { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn clear(&self) {
        if self.live {
            self.write("\r\u{1b}[K");
        }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        self.clear();
        self.write(&format!("{text}\n"));
        self.redraw();
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let text = self.paint("1", text);
        self.line(&format!("\n{text}"));
    }

    /// Something that went well.
    pub fn done(&mut self, text: &str) {
        let mark = self.paint("32", "✓");
        self.line(&format!("{mark} {text}"));
    }

    /// Something that went wrong.
    pub fn failed(&mut self, text: &str) {
        let mark = self.paint("31", "✗");
        self.line(&format!("{mark} {text}"));
    }

    /// Something of lesser weight.
    pub fn detail(&mut self, text: &str) {
        let text = self.paint("2", text);
        self.line(&format!("  {text}"));
    }

    /// What is going on now; empty when nothing is.
    pub fn now(&mut self, text: &str) {
        text.clone_into(&mut self.now);
        self.tick();
    }

    /// Turns the spinner by one step.
    pub fn tick(&mut self) {
        self.frame += 1;
        self.redraw();
    }

    fn redraw(&self) {
        if !self.live {
            return;
        }
        if self.now.is_empty() {
            self.clear();
        } else {
            let spinner = FRAMES[self.frame % FRAMES.len()];
            // One terminal line at the most, whatever its width.
            let text: String = self.now.chars().take(76).collect();
            self.write(&format!("\r\u{1b}[K{} {text}", self.paint("36", spinner)));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
