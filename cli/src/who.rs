//! Who does something: named in every event that a person causes, so that others know whom to ask.

/// Who does something, for the verbs that change what others see.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Who {
    /// Who does it, as its event will say [default: the name of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Who {
    /// The name that was given, or that of the user.
    pub fn name(self) -> String {
        self.by.filter(|name| !name.trim().is_empty()).unwrap_or_else(by)
    }
}

/// The name of the user, where the environment says it; `cli` where it does not, as for a service.
pub fn by() -> String {
    named(|variable| std::env::var(variable).ok())
}

fn named(read: impl Fn(&str) -> Option<String>) -> String {
    let name =
        ["USER", "LOGNAME"].into_iter().find_map(|variable| read(variable).filter(|name| !name.is_empty()));
    name.unwrap_or_else(|| "cli".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_given_counts_and_then_that_of_the_user() {
        let given = |name: &str| Who { by: Some(name.to_owned()) }.name();
        assert_eq!(given("ada"), "ada");
        assert_eq!((given(" "), Who::default().name()), (by(), by()), "nobody has no name");
        let of = |user: &str, login: &str| {
            named(|variable| Some(if variable == "USER" { user } else { login }.to_owned()))
        };
        assert_eq!([of("ada", "ben"), of("", "ben"), of("", "")], ["ada", "ben", "cli"]);
        assert_eq!(named(|_| None), "cli");
    }
}
