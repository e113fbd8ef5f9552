use super::*;

#[test]
fn duration_reads_as_people_say_it() {
    let cases = [(350, "350ms"), (4_200, "4.2s"), (185_000, "3m 5s"), (7_800_000, "2h 10m"), (273_600_000, "3d 4h")];
    for (millis, text) in cases {
        assert_eq!(duration(Duration::from_millis(millis)), text);
    }
}
