//! The table of languages: by file name, by extension, or by the program in a script's first line.

/// What a language is for, so that data files do not pass for source code.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    Code,
    Markup,
    Data,
    Prose,
    Other,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Language {
    pub(super) name: &'static str,
    pub(super) purpose: Purpose,
    extensions: &'static [&'static str],
    file_names: &'static [&'static str],
    interpreters: &'static [&'static str],
    pub(super) comments: Comments,
}

/// The syntax of comments, which is enough to count lines; `hotspots` has syntax trees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comments {
    pub(super) line: &'static [&'static str],
    pub(super) block: Option<(&'static str, &'static str)>,
}

const C: Comments = Comments { line: &["//"], block: Some(("/*", "*/")) };
const HASH: Comments = Comments { line: &["#"], block: None };
const DASH: Comments = Comments { line: &["--"], block: None };
const SEMICOLON: Comments = Comments { line: &[";"], block: None };
const PERCENT: Comments = Comments { line: &["%"], block: None };
const SGML: Comments = Comments { line: &[], block: Some(("<!--", "-->")) };
const CSS: Comments = Comments { line: &[], block: Some(("/*", "*/")) };
const SQL: Comments = Comments { line: &["--"], block: Some(("/*", "*/")) };
const PHP: Comments = Comments { line: &["//", "#"], block: Some(("/*", "*/")) };
const HCL: Comments = Comments { line: &["#", "//"], block: Some(("/*", "*/")) };
const LUA: Comments = Comments { line: &["--"], block: Some(("--[[", "]]")) };
const HASKELL: Comments = Comments { line: &["--"], block: Some(("{-", "-}")) };
const ML: Comments = Comments { line: &[], block: Some(("(*", "*)")) };
const FSHARP: Comments = Comments { line: &["//"], block: Some(("(*", "*)")) };
const POWERSHELL: Comments = Comments { line: &["#"], block: Some(("<#", "#>")) };
const JULIA: Comments = Comments { line: &["#"], block: Some(("#=", "=#")) };
const BATCH: Comments = Comments { line: &["rem ", "REM ", "::"], block: None };
const VIM: Comments = Comments { line: &["\""], block: None };
const NONE: Comments = Comments { line: &[], block: None };

const fn row(
    name: &'static str,
    purpose: Purpose,
    extensions: &'static [&'static str],
    file_names: &'static [&'static str],
    interpreters: &'static [&'static str],
    comments: Comments,
) -> Language {
    Language { name, purpose, extensions, file_names, interpreters, comments }
}

use Purpose::{Code, Data, Markup, Prose};

/// Text in no language of the table.
pub(super) const OTHER: Language = row("Other text", Purpose::Other, &[], &[], &[], NONE);

#[rustfmt::skip]
const LANGUAGES: &[Language] = &[
    row("Rust", Code, &["rs"], &[], &["rust-script"], C),
    row("Python", Code, &["py", "pyi", "pyw"], &["SConstruct", "SConscript"], &["python", "pypy"], HASH),
    row("JavaScript", Code, &["js", "mjs", "cjs", "jsx"], &[], &["node"], C),
    row("TypeScript", Code, &["ts", "mts", "cts"], &[], &["deno", "ts-node", "bun"], C),
    row("TSX", Code, &["tsx"], &[], &[], C),
    row("Go", Code, &["go"], &[], &[], C),
    row("C", Code, &["c", "h"], &[], &[], C),
    row("C++", Code, &["cc", "cpp", "cxx", "hh", "hpp", "hxx", "ipp"], &[], &[], C),
    row("C#", Code, &["cs"], &[], &[], C),
    row("Java", Code, &["java"], &[], &[], C),
    row("Kotlin", Code, &["kt", "kts"], &[], &[], C),
    row("Scala", Code, &["scala", "sc", "sbt"], &[], &[], C),
    row("Groovy", Code, &["groovy", "gradle"], &["Jenkinsfile"], &["groovy"], C),
    row("Swift", Code, &["swift"], &[], &[], C),
    row("Objective-C", Code, &["m", "mm"], &[], &[], C),
    row("Dart", Code, &["dart"], &[], &[], C),
    row("Ruby", Code, &["rb", "rake", "gemspec"], &["Gemfile", "Rakefile", "Vagrantfile"], &["ruby"], HASH),
    row("PHP", Code, &["php", "phtml"], &[], &["php"], PHP),
    row("Perl", Code, &["pl", "pm", "t"], &[], &["perl"], HASH),
    row("Lua", Code, &["lua"], &[], &["lua", "luajit"], LUA),
    row("R", Code, &["r"], &[], &["Rscript"], HASH),
    row("Julia", Code, &["jl"], &[], &["julia"], JULIA),
    row("Haskell", Code, &["hs", "lhs"], &[], &["runhaskell"], HASKELL),
    row("Elm", Code, &["elm"], &[], &[], HASKELL),
    row("OCaml", Code, &["ml", "mli"], &[], &["ocaml"], ML),
    row("F#", Code, &["fs", "fsi", "fsx"], &[], &[], FSHARP),
    row("Erlang", Code, &["erl", "hrl"], &["rebar.config"], &["escript"], PERCENT),
    row("Elixir", Code, &["ex", "exs"], &[], &["elixir"], HASH),
    row("Clojure", Code, &["clj", "cljs", "cljc", "edn"], &[], &["bb"], SEMICOLON),
    row("Common Lisp", Code, &["lisp", "lsp", "asd"], &[], &["sbcl"], SEMICOLON),
    row("Emacs Lisp", Code, &["el"], &[], &[], SEMICOLON),
    row("Scheme", Code, &["scm", "ss", "rkt"], &[], &["guile", "racket"], SEMICOLON),
    row("Zig", Code, &["zig", "zon"], &[], &[], C),
    row("Nim", Code, &["nim", "nims"], &[], &[], HASH),
    row("D", Code, &["d"], &[], &[], C),
    row("Crystal", Code, &["cr"], &[], &["crystal"], HASH),
    row("Solidity", Code, &["sol"], &[], &[], C),
    row("Fortran", Code, &["f90", "f95", "f03", "f08"], &[], &[], Comments { line: &["!"], block: None }),
    row("Ada", Code, &["adb", "ads"], &[], &[], DASH),
    row("VHDL", Code, &["vhd", "vhdl"], &[], &[], DASH),
    row("Verilog", Code, &["v", "sv", "svh"], &[], &[], C),
    row("Assembly", Code, &["s", "asm"], &[], &[], SEMICOLON),
    row("CUDA", Code, &["cu", "cuh"], &[], &[], C),
    row("GLSL", Code, &["glsl", "vert", "frag", "comp"], &[], &[], C),
    row("WGSL", Code, &["wgsl"], &[], &[], C),
    row("Shell", Code, &["sh", "bash", "zsh", "ksh"], &[".bashrc", ".profile", ".zshrc"], &["sh", "bash", "zsh", "dash", "ksh"], HASH),
    row("Fish", Code, &["fish"], &[], &["fish"], HASH),
    row("PowerShell", Code, &["ps1", "psm1", "psd1"], &[], &["pwsh"], POWERSHELL),
    row("Batch", Code, &["bat", "cmd"], &[], &[], BATCH),
    row("Awk", Code, &["awk"], &[], &["awk", "gawk"], HASH),
    row("Vim script", Code, &["vim"], &[".vimrc"], &[], VIM),
    row("Tcl", Code, &["tcl"], &[], &["tclsh", "wish"], HASH),
    row("SQL", Code, &["sql"], &[], &[], SQL),
    row("GraphQL", Code, &["graphql", "gql"], &[], &[], HASH),
    row("Protocol Buffers", Code, &["proto"], &[], &[], C),
    row("Thrift", Code, &["thrift"], &[], &[], PHP),
    row("Starlark", Code, &["bzl", "star"], &["BUILD", "BUILD.bazel", "WORKSPACE", "Tiltfile"], &[], HASH),
    row("Nix", Code, &["nix"], &[], &[], Comments { line: &["#"], block: Some(("/*", "*/")) }),
    row("HCL", Code, &["tf", "tfvars", "hcl"], &[], &[], HCL),
    row("Make", Code, &["mk", "mak"], &["Makefile", "makefile", "GNUmakefile"], &["make"], HASH),
    row("CMake", Code, &["cmake"], &["CMakeLists.txt"], &[], HASH),
    row("Meson", Code, &[], &["meson.build", "meson_options.txt"], &[], HASH),
    row("Just", Code, &["just"], &["justfile", "Justfile"], &["just"], HASH),
    row("Dockerfile", Code, &["dockerfile"], &["Dockerfile", "Containerfile"], &[], HASH),
    row("Vue", Code, &["vue"], &[], &[], SGML),
    row("Svelte", Code, &["svelte"], &[], &[], SGML),
    row("HTML", Markup, &["html", "htm", "xhtml"], &[], &[], SGML),
    row("Jinja", Markup, &["j2", "jinja", "jinja2"], &[], &[], Comments { line: &[], block: Some(("{#", "#}")) }),
    row("CSS", Markup, &["css"], &[], &[], CSS),
    row("Sass", Markup, &["scss", "sass", "less"], &[], &[], C),
    row("XML", Markup, &["xml", "xsd", "xsl", "xslt", "plist", "csproj", "svg"], &[], &[], SGML),
    row("Markdown", Prose, &["md", "markdown", "mdx"], &[], &[], NONE),
    row("reStructuredText", Prose, &["rst"], &[], &[], NONE),
    row("AsciiDoc", Prose, &["adoc", "asciidoc"], &[], &[], NONE),
    row("Org", Prose, &["org"], &[], &[], NONE),
    row("TeX", Prose, &["tex", "sty", "bib"], &[], &[], PERCENT),
    row("Plain text", Prose, &["txt"], &["LICENSE", "LICENCE", "COPYING", "NOTICE", "README", "AUTHORS", "CHANGELOG"], &[], NONE),
    row("JSON", Data, &["json", "jsonl", "json5", "geojson", "ipynb", "webmanifest"], &[".babelrc", ".eslintrc"], &[], NONE),
    row("YAML", Data, &["yml", "yaml"], &[".clang-format"], &[], HASH),
    row("TOML", Data, &["toml"], &["Cargo.lock", "Pipfile", "poetry.lock", "uv.lock"], &[], HASH),
    row("INI", Data, &["ini", "cfg", "conf", "properties", "service"], &[".editorconfig", ".gitconfig", ".npmrc"], &[], HASH),
    row("CSV", Data, &["csv", "tsv"], &[], &[], NONE),
    row("Go module", Data, &[], &["go.mod", "go.sum", "go.work"], &[], C),
    row("Lock file", Data, &["lock"], &["Gemfile.lock", "composer.lock", "yarn.lock", "flake.lock"], &[], NONE),
    row("Ignore list", Data, &[], &[".gitignore", ".dockerignore", ".gitattributes", ".npmignore", "CODEOWNERS"], &[], HASH),
    row("Patch", Data, &["patch", "diff"], &[], &[], NONE),
];

/// The language of a file, from its name and, for a name that says nothing, its first line.
pub(super) fn detect(path: &str, first_line: &str) -> &'static Language {
    by_path(path).or_else(|| by_shebang(first_line)).unwrap_or(&OTHER)
}

/// The language of a file by its name.
pub(super) fn by_path(path: &str) -> Option<&'static Language> {
    let file_name = path.rsplit('/').next().unwrap_or(path);
    if let Some(language) = LANGUAGES.iter().find(|language| language.file_names.contains(&file_name)) {
        return Some(language);
    }
    let (stem, _) = file_name.rsplit_once('.')?;
    let extension = extension(file_name);
    let found = LANGUAGES.iter().find(|language| language.extensions.contains(&extension.as_str()));
    // `Dockerfile.dev` and `Makefile.am` are identified by their start.
    found.or_else(|| LANGUAGES.iter().find(|language| language.file_names.contains(&stem)))
}

/// The extension of a file's name, in lower case.
pub(super) fn extension(file_name: &str) -> String {
    file_name.rsplit_once('.').map_or(String::new(), |(_, extension)| extension.to_ascii_lowercase())
}

fn by_shebang(first_line: &str) -> Option<&'static Language> {
    let mut words = first_line.strip_prefix("#!")?.split_whitespace();
    let mut program = words.next()?.rsplit('/').next()?;
    if program == "env" {
        program = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    let bare = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    LANGUAGES.iter().find(|language| language.interpreters.contains(&bare))
}

#[cfg(test)]
mod tests {
    use super::{LANGUAGES, detect};

    #[test]
    fn names_extensions_and_shebangs_are_known() {
        for (path, first_line, expected) in [
            ("src/a.RS", "", "Rust"),
            ("deep/Makefile", "", "Make"),
            ("Dockerfile.dev", "", "Dockerfile"),
            ("CMakeLists.txt", "", "CMake"),
            ("bin/tool", "#!/usr/bin/env -S python3.12 -u", "Python"),
            ("bin/tool", "#!/bin/sh", "Shell"),
            ("bin/tool", "hello", "Other text"),
        ] {
            assert_eq!(detect(path, first_line).name, expected, "{path}");
        }
    }

    #[test]
    fn the_table_is_broad_and_no_extension_is_listed_twice() {
        assert!(LANGUAGES.len() >= 40);
        let mut all: Vec<_> = LANGUAGES.iter().flat_map(|language| language.extensions).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
