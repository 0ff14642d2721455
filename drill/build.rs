//! The catalogue of scenarios is part of the binary: build again when it changes.

fn main() {
    println!("cargo:rerun-if-changed=../scenarios");
}
