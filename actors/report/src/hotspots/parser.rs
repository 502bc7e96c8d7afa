//! The parser of source files, which runs in a separate process.
//!
//! Grammars are C code that untrusted files can make crash, hang or use up memory, so they never run in the
//! process that runs agents. That process starts its own program again with one argument, through a shell
//! that sets the limits, and sends it one file after the other. When the child ends, its current file is
//! tried again in a new child, which has all of the limits for it; a file that ends that child too is
//! skipped.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::SOURCE_BYTES_MAX;
use super::syntax::{Grammar, Parsed};
use crate::child::Spoken;
use crate::{Error, Watch};

/// The argument that makes a program the parser.
const ARGUMENT: &str = "parse-source-files";

/// Sets the limits and runs the program named behind it: no core dumps, 10 seconds of processor time, 256 MiB
/// of memory. The largest source files that people write take a third of that memory and a second.
const LIMITED: &str = r#"ulimit -c 0 && ulimit -t 10 && ulimit -v 262144 && exec "$0" "$@""#;

/// The line that the parser prints when it is ready.
const READY: &[u8] = b"ready";

/// Bytes of an answer: at most 200 notes and 50 functions of some hundred bytes each.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A text grows by at most half when it is decoded.
const TEXT_BYTES_MAX: u64 = 2 * SOURCE_BYTES_MAX;

/// Files that may end the parser: each may cost its ten seconds, and a repository with more is hostile. The
/// others are skipped.
const GIVEN_UP_MAX: u32 = 50;

/// The program that is started as the parser.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Must be called first in `main` by every program that runs agents. Does the parser's work when the process
/// was started as the parser; returns whether it was.
pub fn parsed_instead() -> bool {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) {
        // The process that asked is gone when it cannot be answered.
        let _ = serve(io::stdin().lock(), io::stdout().lock());
        return true;
    }
    // This path finds the program even when another version has replaced it.
    let this = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let this = if this.exists() { Ok(this) } else { std::env::current_exe() };
    if let Ok(this) = this {
        parse_by(this);
    }
    false
}

/// Sets the program that is started as the parser, for tests, whose own program cannot be it. The first call
/// wins.
pub fn parse_by(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// Answers requests, each a line with a language and a length and then the text, until there are no more.
fn serve(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut grammars = Grammar::all().map_err(io::Error::other)?;
    output.write_all(&[READY, b"\n"].concat())?;
    output.flush()?;
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let language = words.next().unwrap_or_default();
        let length = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let mut text = String::new();
        input.by_ref().take(length).read_to_string(&mut text)?;
        let grammar = grammars.iter_mut().find(|grammar| grammar.language == language);
        let grammar = grammar.ok_or_else(|| io::Error::other("a language without a grammar"))?;
        let mut answer = serde_json::to_vec(&grammar.parse(&text))?;
        answer.push(b'\n');
        output.write_all(&answer)?;
        output.flush()?;
    }
}

/// The parser's client; starts the process at the first request.
#[derive(Default)]
pub(super) struct Parser {
    running: Option<Spoken>,
    given_up: u32,
}

impl Parser {
    /// The findings of one file; `None` when it ends the parser.
    pub(super) fn parse(
        &mut self,
        language: &str,
        text: &str,
        watch: &Watch,
    ) -> Result<Option<Parsed>, Error> {
        if self.given_up == GIVEN_UP_MAX || text.len() as u64 > TEXT_BYTES_MAX {
            return Ok(None);
        }
        loop {
            let (mut parser, is_fresh) = match self.running.take() {
                Some(parser) => (parser, false),
                None => (start(watch)?, true),
            };
            parser.send(format!("{language} {}\n{text}", text.len()).into_bytes());
            let answer = parser.line(ANSWER_BYTES_MAX, watch)?;
            if let Some(parsed) = answer.and_then(|answer| serde_json::from_slice(&answer).ok()) {
                self.running = Some(parser);
                return Ok(Some(parsed));
            }
            if is_fresh {
                self.given_up += 1;
                return Ok(None);
            }
        }
    }
}

fn start(watch: &Watch) -> Result<Spoken, Error> {
    let failed = |source| Error::Parser { source };
    let unnamed = || failed(io::Error::new(io::ErrorKind::NotFound, "this program has not named one"));
    let program = PROGRAM.get().ok_or_else(unnamed)?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", LIMITED]).arg(program).arg(ARGUMENT);
    // The child needs nothing of the host's environment, and an interrupt at the terminal is for the host
    // only.
    command.env_clear().current_dir("/").process_group(0);
    // The program's allocator would take half of the addresses in advance.
    command.env("MIMALLOC_ARENA_RESERVE", "0");
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut parser = Spoken::start(&mut command).map_err(failed)?;
    parser.send(Vec::new());
    match parser.line(READY.len(), watch)? {
        Some(line) if line == READY => Ok(parser),
        _ => Err(failed(io::Error::other("the parser ended before it began"))),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{LIMITED, serve};

    #[test]
    fn the_parser_is_limited() {
        let asked = ["-c", LIMITED, "/bin/sh", "-c", "ulimit -c; ulimit -t; ulimit -v"];
        let output = Command::new("/bin/sh").args(asked).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n10\n262144\n");
    }

    #[test]
    fn requests_are_answered_one_by_one() {
        let request = "Python 24\ndef f(): pass # TODO ab\nGo 9\npackage a";
        let mut output = Vec::new();
        serve(request.as_bytes(), &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines.len(), 3, "{output}");
        assert_eq!(lines[0], "ready");
        assert!(
            lines[1].contains(r#"["TODO",1,"TODO ab"]"#) && lines[2].contains(r#""functions":0"#),
            "{output}"
        );
    }
}
