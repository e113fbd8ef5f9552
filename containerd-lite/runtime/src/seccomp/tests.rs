use super::*;

#[test]
fn compile_default_list_fits_the_kernel() {
    let programs = compile().unwrap();
    assert_eq!(programs.len(), 2);
    for program in &programs {
        // BPF_MAXINSNS
        assert!(program.len() <= 4096, "{} instructions", program.len());
    }
    let decoded = decode(&encode(&programs));
    assert_eq!(decoded.len(), programs.len());
    for (program, copy) in programs.iter().zip(&decoded) {
        let words = |one: &sock_filter| (one.code, one.jt, one.jf, one.k);
        assert!(program.iter().map(words).eq(copy.iter().map(words)));
    }
}

#[test]
fn decode_truncated_gives_no_more_than_there_is() {
    let bytes = encode(&compile().unwrap());
    let decoded = decode(&bytes[..bytes.len() / 2]);
    assert!(decoded.iter().map(Vec::len).sum::<usize>() < bytes.len() / INSTRUCTION_BYTES);
}
