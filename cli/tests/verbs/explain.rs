//! Error codes are explained wherever the binary is.

use serde_json::json;

use crate::schema::check;
use crate::world::orrery;

/// Goal: a user who was shown a code learns what to do, where nothing runs and with settings that are invalid.
/// Method: an entry as text and as JSON, on an empty directory; unknown codes.
#[test]
fn explain_needs_no_system_and_no_valid_settings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let busy = orrery(directory.path(), &["explain", "busy"]).good();
    assert!(busy.stdout.starts_with("# busy\n") && busy.stdout.contains("HTTP status: 503."), "{busy:?}");
    let broken = directory.path().join("broken.toml");
    std::fs::write(&broken, "no-such-setting = 1\n").expect("a file");
    let broken = broken.to_str().expect("a plain path");
    orrery(directory.path(), &["--config", broken, "config", "check"]).failed("bad-setting", 64);
    let entry =
        orrery(directory.path(), &["--json", "--config", broken, "explain", "bad-setting"]).good().line();
    check("error-code", &entry);
    assert_eq!((&entry["code"], entry.get("status")), (&json!("bad-setting"), None), "{entry}");
    let entry = orrery(directory.path(), &["--json", "explain", "code-not-found"]).good().line();
    check("error-code", &entry);
    let unknown = orrery(directory.path(), &["explain", "task-not-foud"]).failed("code-not-found", 66);
    assert!(unknown.stderr.contains("next: similar codes: `task-not-found`"), "{unknown:?}");
    orrery(directory.path(), &["explain", "burnt"]).failed("code-not-found", 66);
}
