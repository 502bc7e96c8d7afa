//! Requirements as pip reads them: by name (PEP 508), by address, by path.

use crate::manifests::{Dependency, Kind};

/// The operators of version comparisons; an operator precedes those that it begins with.
const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];

/// The schemes of addresses, before which the program that fetches may stand.
const SCHEMES: [&str; 9] = ["http", "https", "file", "ftp", "sftp", "ssh", "git", "hg", "svn"];
const FETCHERS: [&str; 4] = ["git+", "hg+", "svn+", "bzr+"];

/// The extensions of installable files.
const ARCHIVES: [&str; 8] = [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar"];

/// The dependency in a line without its comment; `None` where the line names none, and an error where it is
/// no requirement.
pub(super) fn requirement_line(line: &str, kind: Kind) -> Result<Option<Dependency>, &str> {
    // Options follow the requirement, each as a word of its own.
    let options = if line.starts_with('-') { Some(0) } else { line.find(" -") };
    let (requirement, options) = line.split_at(options.unwrap_or(line.len()));
    let requirement = match requirement.trim() {
        // Other options name no dependency of their own, such as `-r other.txt`.
        "" => match editable(options) {
            Some(place) => place,
            None => return Ok(None),
        },
        requirement => requirement,
    };
    // The project that the list belongs to, such as `.[dev]`.
    if matches!(requirement.split(['[', ';']).next().unwrap_or_default().trim(), "." | "./") {
        return Ok(None);
    }
    let found = addressed(requirement, kind).or_else(|| in_path(requirement, kind));
    found.or_else(|| python_requirement(requirement, kind)).map(Some).ok_or(requirement)
}

/// The project that `-e` or `--editable` installs in place.
fn editable(options: &str) -> Option<&str> {
    let long = options.strip_prefix("--editable").filter(|rest| rest.starts_with(['=', ' ']));
    let value = long.or_else(|| options.strip_prefix("-e"))?.trim_start_matches('=').trim();
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote));
    let value = quoted.map_or_else(|| value.split(" -").next().unwrap_or(value), |(inside, _)| inside);
    (!value.is_empty()).then_some(value.trim())
}

/// An address, which says where a dependency comes from and perhaps its name.
fn addressed(text: &str, kind: Kind) -> Option<Dependency> {
    // Addresses may contain semicolons: a marker follows one after a blank.
    let address = text.split("; ").next().unwrap_or(text).trim();
    let scheme = address.split_once(':')?.0.to_ascii_lowercase();
    let is_fetched = FETCHERS.iter().any(|fetcher| scheme.starts_with(fetcher));
    if !is_fetched && !SCHEMES.contains(&scheme.as_str()) {
        return None;
    }
    let (place, fragment) = address.split_once('#').unwrap_or((address, ""));
    let egg = fragment.split('&').find_map(|part| part.strip_prefix("egg="));
    let name = match egg {
        Some(egg) => egg.split('[').next().unwrap_or(egg).trim(),
        None => {
            let behind = place.split_once("://").map_or(place, |(_, behind)| behind);
            let path = behind.split_once('/').map_or(behind, |(_, path)| path);
            name_of(path.split(['?', '@']).next().unwrap_or(path))
        }
    };
    (!name.is_empty()).then(|| Dependency::new(kind, name, from(place)))
}

/// A folder or an archive beside the list.
fn in_path(text: &str, kind: Kind) -> Option<Dependency> {
    let path = text.split(';').next().unwrap_or(text).trim();
    let path = path.split('[').next().unwrap_or(path);
    let is_path = path.starts_with('.') || path.contains('/') || is_archive(path);
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '/' | '-' | '_' | '+' | '~');
    let name = name_of(path);
    (is_path && path.chars().all(allowed) && !name.is_empty())
        .then(|| Dependency::new(kind, name, format!("path {path}")))
}

fn is_archive(path: &str) -> bool {
    ARCHIVES.iter().any(|end| path.ends_with(end))
}

/// The dependency at a path, by its last part: in an archive's name the version follows the name.
fn name_of(path: &str) -> &str {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let Some(stem) = ARCHIVES.iter().find_map(|end| last.strip_suffix(end)) else {
        return last.strip_suffix(".git").unwrap_or(last);
    };
    let versions = stem.match_indices('-').map(|(at, _)| stem.split_at(at));
    let named = versions.into_iter().find(|(_, rest)| rest[1..].starts_with(|c: char| c.is_ascii_digit()));
    named.map_or(stem, |(name, _)| name)
}

/// An address as a requirement, for output.
fn from(place: &str) -> String {
    place.strip_prefix("git+").map_or_else(|| place.to_owned(), |address| format!("git {address}"))
}

/// A requirement by name, with extras, and a version or an address; a condition follows `;`.
pub(super) fn python_requirement(text: &str, kind: Kind) -> Option<Dependency> {
    let text = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let (name, rest) = text.split_at(text.find(|c| !allowed(c)).unwrap_or(text.len()));
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    if !name.starts_with(is_edge) || !name.ends_with(is_edge) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']')?.1.trim_start(),
        None => rest,
    };
    if let Some(address) = rest.strip_prefix('@') {
        let address = address.split_whitespace().next()?.trim_end_matches(';');
        return Some(Dependency::new(kind, name, from(address)));
    }
    let version = rest.split(';').next().unwrap_or(rest).trim();
    let version =
        version.strip_prefix('(').and_then(|inside| inside.strip_suffix(')')).unwrap_or(version).trim();
    let clauses = version.strip_suffix(',').unwrap_or(version);
    let known = version.is_empty() || clauses.split(',').all(compares);
    known.then(|| Dependency::new(kind, name, version))
}

/// Whether this is one comparison with a version.
fn compares(clause: &str) -> bool {
    let clause = clause.trim();
    let Some(operator) = OPERATORS.iter().find(|operator| clause.starts_with(**operator)) else {
        return false;
    };
    let version = clause[operator.len()..].trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '*' | '+' | '!' | '-' | '_');
    !version.is_empty() && (version.chars().all(allowed) || *operator == "===")
}

#[cfg(test)]
mod tests {
    use super::requirement_line;
    use crate::manifests::Kind;

    #[test]
    fn lines_name_what_pip_would_install() {
        for (line, expected) in [
            ("requests==2.0", Ok("requests ==2.0")),
            ("requests [socks] >= 2, < 3 ; python_version < '3'", Ok("requests >= 2, < 3")),
            ("requests (==2.0)", Ok("requests ==2.0")),
            ("requests==2.0 --hash=sha256:ab --hash=sha256:cd", Ok("requests ==2.0")),
            ("git+https://h/x.git#egg=foo", Ok("foo git https://h/x.git")),
            ("git+https://h/x.git@v1#subdirectory=a&egg=foo[bar]", Ok("foo git https://h/x.git@v1")),
            ("git+ssh://git@h/y/x.git@a/b ; python_version < '3'", Ok("x git ssh://git@h/y/x.git@a/b")),
            ("-e git+https://h/x.git#egg=foo", Ok("foo git https://h/x.git")),
            ("--editable=hg+https://h/x#egg=foo", Ok("foo hg+https://h/x")),
            ("https://h/foo_bar-1.0-py3-none-any.whl", Ok("foo_bar https://h/foo_bar-1.0-py3-none-any.whl")),
            ("foo @ git+https://h/x.git ; extra == 'y'", Ok("foo git https://h/x.git")),
            ("foo@https://h/foo.zip", Ok("foo https://h/foo.zip")),
            ("./libs/foo[extra]", Ok("foo path ./libs/foo")),
            ("-e ../foo/", Ok("foo path ../foo/")),
            ("-e '../foo' --config-settings a=b", Ok("foo path ../foo")),
            ("vendor/foo-bar-1.2.tar.gz", Ok("foo-bar path vendor/foo-bar-1.2.tar.gz")),
            ("-e .[dev]", Ok("")),
            ("-r base.txt", Ok("")),
            ("--extra-index-url https://h/", Ok("")),
            ("", Ok("")),
            ("???", Err("???")),
            ("foo =1", Err("foo =1")),
            ("foo bar", Err("foo bar")),
            ("foo-", Err("foo-")),
        ] {
            let found = requirement_line(line, Kind::Normal);
            let shown =
                found.map(|one| one.map_or(String::new(), |one| format!("{} {}", one.name, one.requirement)));
            assert_eq!(shown, expected.map(str::to_owned), "{line}");
        }
    }
}
