//! Collects the pages of error codes, so that the gateway can serve what its problems point to.
//!
//! It writes `pages.rs`: an array of codes with their pages, sorted by code.

use std::fmt::Write;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    // Asked now and not when this program was compiled: a copy of the sources may have compiled it.
    let manifest = std::env::var("CARGO_MANIFEST_DIR").expect("cargo tells where the manifest is");
    let folder = PathBuf::from(manifest).join("../docs/errors").canonicalize()?;
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut pages: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        pages.push(entry?.path());
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    let mut source = "[\n".to_owned();
    for page in pages {
        let code = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = page.to_string_lossy();
        writeln!(source, "    ({code:?}, include_str!({path:?})),").expect("text grows in memory");
    }
    source.push_str("]\n");
    let target = std::env::var("OUT_DIR").expect("cargo tells where built files go");
    std::fs::write(PathBuf::from(target).join("pages.rs"), source)
}
