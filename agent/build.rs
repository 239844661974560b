//! How the released program is linked.

fn main() {
    println!("cargo::rerun-if-changed=agent/build.rs");
    // At a fixed address, as the services of Amazon's that are written in Go are: the 20,000 places that would have to be put
    // right at each start are half a megabyte of the program and 0.7 MB of its memory (docs/benchmarks.md). Libraries, heap
    // and stack are where chance puts them all the same.
    let released = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if released && linux {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        // Cargo forgets `strip` of the profile for a package that has settings of its own in it.
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
}
