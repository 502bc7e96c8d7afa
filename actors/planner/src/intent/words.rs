//! The words of the grammar, by class.

/// A class of words, as the patterns name it.
pub(super) struct Class {
    pub(super) name: &'static str,
    words: &'static str,
    /// Whether a word counts in any of its forms, as `files` and `filing` for `file`.
    in_any_form: bool,
}

/// The classes that are lists of words.
pub(super) const CLASSES: [Class; 14] = [
    // What a report has, and asking for it.
    Class {
        name: "topic",
        words: "account activity analyse analysis analyze architecture assess assessment attention audit author \
            authorship check churn code codebase comment commit committer complexity composition config configuration \
            configure contribute contribution contributor count dependency describe description digest directory doc \
            documentation documented examine explain explore factor file fixme folder function git hack health history \
            hotspot inspect installation inventory investigate issue knowledge language layout licence license line \
            loc look maintainer manifest module note outdated overview owner package people project purpose quality \
            readme repo report repository review risk scan setup software source stat statistic structure study \
            summarise summarize summary survey team technology test testing tests todo tool understand usage xxx",
        in_any_form: true,
    },
    Class {
        name: "product",
        words: "account analysis assessment audit chart count description diagram digest inventory list note overview \
            report review statistic statistics stats summary survey table",
        in_any_form: true,
    },
    // Words that point at the repository, in a question.
    Class { name: "pointer", words: "this it its here these that there they we", in_any_form: false },
    Class {
        name: "question",
        words: "are can could did do does has have how is should was were what when where which who whom whose why will",
        in_any_form: false,
    },
    // Verbs that ask for a change or an action.
    Class {
        name: "change",
        words: "add adjust apply approve bake book bump buy call change clean close commit convert cook copy correct \
            cut debug decrease delete deploy design develop disable document drop eliminate email enable encrypt erase \
            execute extend fix format implement improve increase initialise initialize insert install integrate invent \
            kill launch merge migrate modernise modernize modify move open optimise optimize order patch pay plan play \
            post print program publish pull push rebase reduce refactor release remind remove rename reorganise \
            reorganize repair replace reply reset resolve restart restore restructure reverse revert rewrite roll run \
            save schedule send set shrink simplify sing solve split squash start stop submit tag test tidy translate \
            tweet uninstall update upgrade upload use",
        in_any_form: false,
    },
    // Verbs that create something.
    Class {
        name: "make",
        words: "build compile compose create draft draw generate make prepare produce write",
        in_any_form: false,
    },
    // Of all these verbs those that are nouns too: they are verbs when an object follows, or nothing does.
    Class {
        name: "noun",
        words: "build change commit design document draw format merge open order patch plan print release schedule tag \
            test use",
        in_any_form: false,
    },
    // Verbs that begin something new, beside those that create.
    Class { name: "start", words: "design develop implement program", in_any_form: false },
    Class {
        name: "service",
        words: "api app application backend frontend page server service site webapp webpage webservice website",
        in_any_form: false,
    },
    // Words by which a request speaks of something that is there.
    Class {
        name: "definite",
        words: "its my our that the their them these this those your",
        in_any_form: false,
    },
    // Words behind what a request asks for.
    Class {
        name: "about",
        words: "about at by for from of on so that to using where which who whose with",
        in_any_form: false,
    },
    // Words before the verb of a request.
    Class {
        name: "polite",
        words: "also and can could go help hey hi i kindly let lets like me need now please then to us want we will \
            would you",
        in_any_form: false,
    },
    // Words between a verb and its object.
    Class {
        name: "object",
        words: "a all an any each every it me my our some that the their them these this those us your",
        in_any_form: false,
    },
    // Words behind which a request begins anew.
    Class { name: "joint", words: "and then or also please but", in_any_form: false },
];

/// The names of the classes that depend on the place of a word or on what it is not, in the order of their numbers.
pub(super) const PLACED: [&str; 5] = ["act", "later", "makes", "plain", "other"];

/// The number of a class.
pub(super) fn number(name: &str) -> Option<usize> {
    let listed = CLASSES.iter().position(|class| class.name == name);
    listed.or_else(|| Some(CLASSES.len() + PLACED.iter().position(|placed| *placed == name)?))
}

/// The classes of a word, as the bits of their numbers.
pub(super) fn classes(word: &str) -> u32 {
    let forms: Vec<String> = forms(word).collect();
    let is_in = |class: &Class| {
        class.words.split_whitespace().any(|one| match class.in_any_form {
            true => forms.iter().any(|form| form == one),
            false => one == word,
        })
    };
    CLASSES.iter().enumerate().filter(|(_, class)| is_in(class)).map(|(number, _)| 1 << number).sum()
}

/// All words, for who is told the nearest one.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().flat_map(|class| class.words.split_whitespace())
}

/// A word as it is, and without its possible endings.
fn forms(word: &str) -> impl Iterator<Item = String> + '_ {
    let bare =
        [("", ""), ("s", ""), ("es", ""), ("ies", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("d", "")];
    bare.into_iter().filter_map(|(ending, instead)| Some(format!("{}{instead}", word.strip_suffix(ending)?)))
}
