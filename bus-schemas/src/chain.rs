//! Errors as text.

/// An error with its causes in one line. A cause that an error's own text already contains is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string);
    causes.fold(error.to_string(), |text, cause| match text.ends_with(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layered {
        #[error("reading the file")]
        Quiet(#[source] std::io::Error),
        #[error("reading the file: {0}")]
        Loud(#[source] std::io::Error),
    }

    #[test]
    fn every_cause_is_said_once() {
        let cause = || std::io::Error::other("no permission");
        for error in [Layered::Quiet(cause()), Layered::Loud(cause())] {
            assert_eq!(chain(&error), "reading the file: no permission");
        }
        assert_eq!(chain(&cause()), "no permission");
    }
}
