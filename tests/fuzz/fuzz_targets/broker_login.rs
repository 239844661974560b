#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mc_idle_fuzz::broker_login(input));
