//! How this program was called, so that a copied command from its advice reaches the same installation.

use std::ffi::OsString;
use std::path::Path;

/// Options that select an installation.
const PLACES: [&str; 2] = ["--data-dir", "--config"];

/// The program's name and the options that the commands it advises must repeat.
#[derive(Debug, PartialEq, Eq)]
struct Called {
    program: String,
    /// `--data-dir DIR` and `--config FILE`, quoted, in this order.
    places: [Option<String>; 2],
}

impl Called {
    fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments = arguments.into_iter().map(|word| word.to_string_lossy().into_owned());
        let program = arguments.next().unwrap_or_else(|| "orrery".to_owned());
        let mut places = [None, None];
        while let Some(word) = arguments.next().filter(|word| word != "--") {
            for (option, place) in PLACES.iter().zip(&mut places) {
                match word.strip_prefix(option) {
                    Some("") => *place = arguments.next(),
                    Some(rest) if rest.starts_with('=') => *place = Some(rest[1..].to_owned()),
                    _ => {}
                }
            }
        }
        Self { program: quoted(&program), places: places.map(|place| place.map(|place| quoted(&place))) }
    }

    fn options(&self) -> impl Iterator<Item = String> {
        let given = PLACES.iter().zip(&self.places);
        given.filter_map(|(option, place)| Some(format!("{option} {}", place.as_ref()?)))
    }

    fn advice(&self, text: &str) -> String {
        let mut parts: Vec<String> = text.split('`').map(str::to_owned).collect();
        for command in parts.iter_mut().skip(1).step_by(2) {
            let Some(rest) = command.strip_prefix("orrery ") else { continue };
            if PLACES.iter().any(|option| rest.contains(option)) {
                continue;
            }
            let words = [self.program.clone(), rest.to_owned()].into_iter().chain(self.options());
            *command = words.collect::<Vec<_>>().join(" ");
        }
        parts.join("`")
    }
}

/// Completes the commands in an advice: those in backticks that begin with `orrery` get the program's name
/// and options as they must be typed here.
pub fn advice(text: &str) -> String {
    Called::read(std::env::args_os()).advice(text)
}

/// The beginning of a command on this data directory, to which the verb is appended.
pub fn on(data_dir: &Path) -> String {
    let called = Called::read(std::env::args_os());
    let [given, config] = &called.places;
    let data_dir = given.clone().unwrap_or_else(|| quoted(&data_dir.to_string_lossy()));
    let config = config.iter().map(|config| format!(" --config {config}"));
    format!("{} --data-dir {data_dir}{}", called.program, config.collect::<String>())
}

/// Quotes a word for a POSIX shell.
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Called, quoted};

    fn called(words: &[&str]) -> Called {
        Called::read(words.iter().map(Into::into))
    }

    #[test]
    fn advice_names_the_installation_that_was_named() {
        let here =
            called(&["target/debug/orrery", "task", "--data-dir=my data", "show", "x", "--config", "a.toml"]);
        assert_eq!(
            here.advice("`orrery tasks list` shows them; see `orrery.json`"),
            "`target/debug/orrery tasks list --data-dir 'my data' --config a.toml` shows them; see `orrery.json`"
        );
        let named = "`orrery up --data-dir DIR`";
        assert_eq!(here.advice(named), named);
        assert_eq!(called(&["orrery", "doctor"]).advice("`orrery up`"), "`orrery up`");
        let goal = called(&["orrery", "run", "--", "--data-dir", "x"]);
        assert_eq!(goal.places, [None, None]);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!([quoted("/a/b-c"), quoted("it's"), quoted("")], ["/a/b-c", r"'it'\''s'", "''"]);
    }
}
