//! Text for logs: an error with its causes, and text that others chose.

use std::{
    error::Error,
    fmt::{self, Write},
};

/// The longest line that log readers and terminals handle well.
const MAX_CHARS: usize = 2000;

/// An error and its causes on one line, as "a: b: c".
///
/// A field of type `dyn Error` loses its causes in `tracing-subscriber`'s JSON, and a full disk and a lock then look alike.
#[derive(Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

/// Text that a client or another system chose, cut after 2,000 characters and with control and format characters escaped,
/// so that it stays on its line and cannot rearrange it.
#[derive(Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat their cause in their own message.
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        Printable(&line).fmt(formatter)
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, letter) in self.0.chars().enumerate() {
            if position == MAX_CHARS {
                return write!(formatter, "… ({} bytes)", self.0.len());
            }
            if rearranges(letter) {
                write!(formatter, "{}", letter.escape_unicode())?;
            } else {
                formatter.write_char(letter)?;
            }
        }
        Ok(())
    }
}

/// Control characters, line separators, and characters that change the direction of text or have no width.
fn rearranges(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn an_error_is_written_with_its_causes_once_each() {
        let disk = Layer("the disk is full", None);
        let again = Layer("write failed: the disk is full", Some(Box::new(disk)));
        let top = Layer("the store did not respond", Some(Box::new(again)));
        assert_eq!(
            Causes(&top).to_string(),
            "the store did not respond: write failed: the disk is full"
        );
    }

    #[test]
    fn text_of_others_stays_on_its_line_in_its_order_and_ends() {
        let text = "a\u{1b}[2J\nb\u{202e}c\u{85}é漢";
        assert_eq!(
            Printable(text).to_string(),
            "a\\u{1b}[2J\\u{a}b\\u{202e}c\\u{85}é漢"
        );
        let long = "é".repeat(60_000);
        let shown = Printable(&long).to_string();
        assert_eq!(
            shown.chars().filter(|&letter| letter == 'é').count(),
            MAX_CHARS
        );
        assert!(shown.ends_with("… (120000 bytes)"), "{shown}");
    }
}
