//! What a specification and a part may be, and that the template makes a project that others can run.

use std::path::Path;
use std::process::Command;

use super::*;

fn notes() -> Value {
    let endpoint = |method: &str, body: &str, status: u16, fields: &[&str]| json!({"method": method, "path": "/api/notes", "summary": "a | b", "body": body, "status": status, "fields": fields});
    json!({
        "name": "notes", "summary": "Keeps {{ notes }}.",
        "endpoints": [endpoint("POST", "{\"text\": \"milk\"}", 201, &["id"]), endpoint("GET", "", 200, &[])],
        "pages": [{"path": "index.html", "title": "Notes", "summary": "All notes."}],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut changed = notes();
    *changed.pointer_mut(pointer).unwrap() = value;
    changed
}

#[test]
fn a_specification_has_plain_names_and_bounds() {
    let read = Specification::read(&notes()).unwrap();
    assert_eq!(read.tests().len(), 6, "{:?}", read.tests());
    let validator = jsonschema::validator_for(&Specification::schema().schema).unwrap();
    assert!(validator.is_valid(&notes()) && !validator.is_valid(&with("/pages", json!([1]))));
    for (pointer, value, part) in [
        ("/name", json!("../notes"), "`name`"),
        ("/name", json!("n".repeat(65)), "`name`"),
        ("/summary", json!(""), "no line"),
        ("/summary", json!("a\nb"), "no line"),
        ("/endpoints/0/path", json!("/notes"), "below `/api/`"),
        ("/endpoints/0/path", json!("/api/../x"), "below `/api/`"),
        ("/endpoints/0/path", json!("/api/a b"), "below `/api/`"),
        ("/endpoints/0/path", json!("/api/a?b=<"), "plain query"),
        ("/endpoints/0/body", json!("{"), "nor JSON"),
        ("/endpoints/0/status", json!(100), "200 to 599"),
        ("/endpoints/0/status", json!(-1), "invalid"),
        ("/endpoints/0/fields", json!(["a\u{202e}"]), "plain name"),
        ("/pages/0/path", json!("../x.html"), "different names"),
        ("/pages/0/path", json!("about.html"), "`index.html`"),
    ] {
        let reason = Specification::read(&with(pointer, value)).unwrap_err();
        assert!(reason.starts_with("invalid-output: ") && reason.contains(part), "{pointer}: {reason}");
    }
    let token = ["ghp_", "q7Z3kP9sT1vX5bN8mR2cL6wJ4hG0fDq7Z3kP"].concat();
    let reason = Specification::read(&with("/summary", json!(token))).unwrap_err();
    assert!(reason.starts_with("secret-found: ") && !reason.contains(&token), "{reason}");
    let mut empty = with("/endpoints", json!([]));
    empty["pages"] = json!([]);
    assert!(Specification::read(&empty).unwrap_err().contains("neither"));
}

#[test]
fn a_part_stays_in_its_folder_and_leaves_the_template_alone() {
    let read = Specification::read(&notes()).unwrap();
    let (backend, frontend) = (BACKEND.wanted(&read), FRONTEND.wanted(&read));
    assert_eq!(
        (&backend[..], &frontend[..]),
        (&["backend/app.py".to_owned()][..], &["frontend/index.html".to_owned()][..])
    );
    let files = |paths: &[&str]| json!({"files": paths.iter().map(|path| json!({"path": path, "text": "x"})).collect::<Vec<_>>()});
    let good = files(&["backend/app.py", "backend/test_app.py", "backend/store/__init__.py"]);
    assert_eq!(BACKEND.read(&good, &backend).unwrap().len(), 3);
    for path in [
        "app.py",
        "frontend/app.py",
        "backend/../app.py",
        "/etc/passwd.py",
        "backend",
        "backend/run.sh",
        "backend/.git/a.py",
        "backend/server.py",
        "backend/contract.json",
        "backend/test_contract.py",
        "backend/conftest.py",
        "backend/sitecustomize.py",
        "backend/app.py",
        "backend/app.py/a.py",
    ] {
        let reason = BACKEND.read(&files(&["backend/app.py", path]), &backend).unwrap_err();
        assert!(reason.starts_with("path-refused: "), "{path}: {reason}");
    }
    let reason = FRONTEND.read(&files(&["frontend/app.js"]), &frontend).unwrap_err();
    assert!(reason.starts_with("file-missing: ") && reason.contains("frontend/index.html"), "{reason}");
    for text in ["x".repeat(FILE_BYTES_MAX + 1), "\0".to_owned()] {
        let large = json!({"files": [{"path": "backend/app.py", "text": text}]});
        assert!(BACKEND.read(&large, &backend).unwrap_err().starts_with("part-too-large: "));
    }
    let many: Vec<String> = (0..=FILES_MAX).map(|number| format!("backend/a{number}.py")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(BACKEND.read(&files(&many), &[]).unwrap_err().starts_with("part-too-large: "));
}

/// The files of the template in a folder.
fn written(at: &Path, specification: &Value) -> Files {
    let files = template(&Specification::read(specification).unwrap(), BASE_IMAGE).unwrap();
    for (path, entry) in files.iter() {
        let Entry::File { bytes, .. } = entry else { panic!("a link") };
        std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
        std::fs::write(at.join(path), bytes).unwrap();
    }
    files
}

/// What a program says, which must end well.
fn said(at: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(at).output();
    let output = output.unwrap_or_else(|error| panic!("run `make tools` first: {program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The Compose file is one by the program of Debian, and by the schema of the Compose Specification: that of
/// <https://github.com/compose-spec/compose-spec> at a08f8d51631b7127ddac3d2c65537db429d0f1d0.
#[test]
fn the_compose_file_is_one_for_others_too() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &notes());
    let config = said(folder.path(), "docker-compose", &["config"]);
    assert!(config.contains("127.0.0.1:8080:8080"), "{config}");
    std::fs::rename(folder.path().join(".env.example"), folder.path().join(".env")).unwrap();
    let other = std::fs::read_to_string(folder.path().join(".env")).unwrap().replace("8080", "9090");
    std::fs::write(folder.path().join(".env"), other).unwrap();
    assert!(said(folder.path(), "docker-compose", &["config"]).contains("127.0.0.1:9090:8080"));

    // Python's YAML comes with Debian's program.
    let script = "import json, yaml; print(json.dumps(yaml.safe_load(open('compose.yaml'))))";
    let compose: Value =
        serde_json::from_str(&said(folder.path(), "/usr/bin/python3", &["-c", script])).unwrap();
    let schema = serde_json::from_str(include_str!("../../tests/compose/compose-spec.json")).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let wrong: Vec<String> = validator.iter_errors(&compose).map(|error| error.to_string()).collect();
    assert_eq!(wrong, [""; 0]);
    assert!(!validator.is_valid(&json!({"services": {"web": {"builds": "."}}})));
}

#[test]
fn the_template_is_what_the_specification_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(folder.path(), &notes());
    assert!(files.iter().all(|(path, _)| is_fixed(path)) && !is_fixed("backend/app.py"));
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
    assert!(read("README.md").contains("- `POST /api/notes` answers 201: a | b\n"), "{}", read("README.md"));
    assert!(read("README.md").contains("Keeps {{ notes }}."), "text of a model is no template");
    let variables: Vec<&str> = vec!["HOST_PORT"];
    let used = read("compose.yaml").matches("${").count();
    assert_eq!(used, variables.len(), "each has a line in .env.example");
    assert!(variables.iter().all(|name| read(".env.example").contains(&format!("\n{name}="))));
    assert!(read("Dockerfile").starts_with("FROM python:3.11-slim\n") && !read("Dockerfile").contains("RUN"));
    assert!(read("Dockerfile").contains("COPY frontend frontend"));

    let folder = tempfile::tempdir().unwrap();
    let files = written(folder.path(), &with("/pages", json!([])));
    assert!(files.iter().all(|(path, _)| !path.starts_with("frontend")));
    let Some(Entry::File { bytes, .. }) = files.get("Dockerfile") else { panic!("none") };
    assert!(!String::from_utf8_lossy(bytes).contains("frontend"));
}
