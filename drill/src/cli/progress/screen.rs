//! A terminal on which lines are printed above a few rows that are drawn again and again.
//!
//! The rows are redrawn in place by moving up over them, so that nothing must be known of the terminal but its size: there
//! are never more of them than it has room for, and none is wider. The cursor stays where it can be seen, below them, and
//! no mode of the terminal is changed: whatever ends the process leaves it usable. A screen can be suspended, and then
//! keeps what is printed until it is resumed.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
};

use rustix::termios::tcgetwinsize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A terminal that does not say how large it is.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// The size of the terminal at stderr now: people make windows larger and smaller.
pub(super) fn size() -> Size {
    let said = tcgetwinsize(io::stderr()).ok();
    let or_usual = |said: Option<u16>, usual| said.map(usize::from).filter(|&said| said > 0).unwrap_or(usual);
    Size {
        rows: or_usual(said.map(|size| size.ws_row), USUAL.rows),
        columns: or_usual(said.map(|size| size.ws_col), USUAL.columns),
    }
}

/// Whether stderr is a terminal whose cursor can be moved.
pub(super) fn can_be_redrawn() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Lines above, rows below.
pub(super) struct Screen<W> {
    out: W,
    /// How wide each row is that is drawn now.
    drawn: Vec<usize>,
    state: State,
    /// Whether it is a terminal on which something can be drawn again; else lines are written, and nothing else.
    can_be_redrawn: bool,
}

enum State {
    Open,
    /// What was printed meanwhile.
    Suspended(String),
    Closed,
}

impl<W: Write> Screen<W> {
    pub(super) fn new(out: W, can_be_redrawn: bool) -> Self {
        Self {
            out,
            drawn: Vec::new(),
            state: State::Open,
            can_be_redrawn,
        }
    }

    /// Prints `text`, which ends its lines, above the rows; `live` are the rows from now on.
    pub(super) fn show(&mut self, text: &str, live: &[String], size: Size) {
        let live = match &mut self.state {
            State::Open => live,
            State::Suspended(held) => return held.push_str(text),
            State::Closed => &[],
        };
        if !self.can_be_redrawn {
            return self.write(text);
        }
        let room = size.rows.saturating_sub(1); // the cursor stands in the row below them
        let rows: Vec<_> = live.iter().take(room).map(|row| cut(row, size.columns)).collect();
        if text.is_empty() && rows.is_empty() && self.drawn.is_empty() {
            return;
        }
        let mut output = self.up(size.columns);
        for line in text.lines() {
            output += line;
            // Nothing is left of what was there; behind a line that fills its row that would be its last character.
            output += if line.width() < size.columns { "\x1b[K\n" } else { "\n" };
        }
        for row in &rows {
            output += row;
            output += "\x1b[K\n";
        }
        output += "\x1b[J";
        self.drawn = rows.iter().map(|row| row.width()).collect();
        self.write(&output);
    }

    /// Takes the rows away, for somebody else to write, and keeps what is printed from now on.
    pub(super) fn suspend(&mut self) {
        self.clear();
        if matches!(self.state, State::Open) {
            self.state = State::Suspended(String::new());
        }
    }

    /// Prints what was kept.
    pub(super) fn resume(&mut self) {
        if let State::Suspended(held) = &mut self.state {
            let held = std::mem::take(held);
            self.state = State::Open;
            self.write(&held);
        }
    }

    /// Takes the rows away for good. Whoever was writing meanwhile may not have ended the line.
    pub(super) fn close(&mut self) {
        self.clear();
        if let State::Suspended(held) = std::mem::replace(&mut self.state, State::Closed) {
            self.write(&format!("\n{held}"));
        }
    }

    fn clear(&mut self) {
        if !self.drawn.is_empty() {
            let up = self.up(size().columns);
            self.drawn.clear();
            self.write(&(up + "\x1b[J"));
        }
    }

    /// Moves to the first row that is drawn. In a window that was made narrower since, one takes up several lines.
    fn up(&self, columns: usize) -> String {
        let lines: usize = self.drawn.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        if lines == 0 {
            return String::new();
        }
        format!("\r\x1b[{lines}A")
    }

    fn write(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes());
        let _ = written.and_then(|()| self.out.flush()); // the terminal may be gone
    }
}

/// The text on one line of at most so many columns, with an ellipsis where something is left out. The last column stays
/// free: terminals differ in where the cursor is behind it.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let room = columns.saturating_sub(1).max(1);
    let clean: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if clean.width() <= room {
        return clean;
    }
    let mut used = 1; // the ellipsis
    let fits = |char: &char| {
        used += char.width().unwrap_or_default();
        used <= room
    };
    let mut short: String = clean.chars().take_while(fits).collect();
    short.push('…');
    short
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Screen, Size, cut};

    const SIZES: [Size; 5] = [
        Size { rows: 24, columns: 80 },
        Size { rows: 30, columns: 80 },
        Size { rows: 10, columns: 80 },
        Size { rows: 4, columns: 20 },
        Size { rows: 2, columns: 5 },
    ];

    fn rows(number: usize, size: Size) -> Vec<String> {
        let all = (0..3).map(|row| format!("row {row} of {number}, which may be rather wide for some windows"));
        all.take(size.rows.min(3)).collect()
    }

    /// Everything that is to be seen on a terminal of that size, what was scrolled away included.
    fn seen(output: &[u8], size: Size) -> Vec<String> {
        let [rows, columns] = [size.rows, size.columns].map(|side| u16::try_from(side).unwrap().try_into().unwrap());
        let mut terminal = vt100::Parser::new(rows, columns, 1_000);
        let output = String::from_utf8(output.to_vec()).unwrap().replace('\n', "\r\n"); // as a terminal does
        terminal.process(output.as_bytes());
        let screen = terminal.screen_mut();
        let mut lines = Vec::new();
        for above in (1..=screen.scrollback_len()).rev() {
            screen.set_scrollback(above);
            lines.extend(screen.rows(0, columns.get()).next());
        }
        screen.set_scrollback(0);
        lines.extend(screen.rows(0, columns.get()));
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    #[test]
    fn what_was_printed_is_there_once_whatever_the_size() {
        for size in SIZES {
            let mut screen = Screen::new(Vec::new(), true);
            for number in 0..40 {
                screen.show("", &rows(number, size), size);
                screen.show(&format!("l{number}\n"), &rows(number, size), size);
            }
            let seen = seen(&screen.out, size);
            let mut expected: Vec<_> = (0..40).map(|number| format!("l{number}")).collect();
            let live = rows(39, size);
            expected.extend(live.iter().take(size.rows - 1).map(|row| cut(row, size.columns)));
            assert_eq!(seen, expected, "{size:?}");
        }
    }

    #[test]
    fn nothing_is_drawn_while_it_is_suspended() {
        let size = SIZES[0];
        let mut screen = Screen::new(Vec::new(), true);
        screen.show("before\n", &rows(1, size), size);
        screen.suspend();
        let asked = screen.out.len();
        screen.show("meanwhile\n", &rows(2, size), size);
        screen.show("", &rows(3, size), size);
        assert_eq!(screen.out.len(), asked);
        screen.out.extend(b"sure? y\n");
        screen.resume();
        screen.show("after\n", &rows(4, size), size);
        let mut expected = vec!["before".to_owned(), "sure? y".to_owned()];
        expected.extend(["meanwhile".to_owned(), "after".to_owned()]);
        expected.extend(rows(4, size));
        assert_eq!(seen(&screen.out, size), expected);
    }

    #[test]
    fn a_closed_screen_only_prints() {
        let size = SIZES[0];
        let mut screen = Screen::new(Vec::new(), true);
        screen.show("before\n", &rows(1, size), size);
        screen.suspend();
        screen.out.extend(b"sure? ");
        screen.close();
        screen.show("after\n", &rows(2, size), size);
        assert_eq!(seen(&screen.out, size), ["before", "sure? ", "after"]);
    }

    #[test]
    fn what_is_no_terminal_gets_lines_and_nothing_else() {
        let mut screen = Screen::new(Vec::new(), false);
        screen.show("first\n", &rows(1, SIZES[0]), SIZES[0]);
        screen.suspend();
        screen.show("meanwhile\n", &[], SIZES[0]);
        screen.resume();
        screen.close();
        assert_eq!(String::from_utf8(screen.out).unwrap(), "first\nmeanwhile\n");
    }

    #[test]
    fn lines_are_cut_to_what_is_seen_of_them() {
        assert_eq!(cut("seven", 6), "seven");
        assert_eq!(cut("sevens", 6), "seve…");
        assert_eq!(cut("a\tb\nc\x1b[2J", 80), "a b c [2J");
        assert_eq!(cut("漢字漢字", 8), "漢字漢…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
    }
}
