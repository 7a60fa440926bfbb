//! Many processes at one server: together they admit what each limit admits, no more, and nearly all of it.

use std::{
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use counters::{Counters, Memory, OnLoss, Shared, SharedOptions, Taken};
use domain::quota::Bucket;

use super::{NOW, charge, charges, key, server::Server};

const PROCESSES: usize = 8;
const LIMITS: usize = 10;
/// 100 at once, then one each 10 ms.
const QUOTA: &str = "100/1s";
const BURST_AND_RATE: f64 = 100.0;
/// The pause of a process after it has tried every limit: all of them ask for about four times what there is.
const PAUSE: Duration = Duration::from_millis(20);
/// How long they go on, unless `TOOLGATE_SOAK_ROUNDS` is set.
const SECONDS: u64 = 2;
const SECONDS_OF_SOAK: u64 = 20;

fn since_1970() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn eight_processes_keep_ten_limits() {
    let Some(server) = Server::start() else { return };
    let soak = std::env::var_os("TOOLGATE_SOAK_ROUNDS").is_some();
    let seconds = if soak { SECONDS_OF_SOAK } else { SECONDS };
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "processes::one_of_eight", "--ignored", "--nocapture"]);
            command.env("TOOLGATE_TEST_COUNTS_AT", server.url());
            command.env("TOOLGATE_TEST_SECONDS", seconds.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let (mut first, mut last, mut admitted) = (f64::MAX, 0_f64, [0_u64; LIMITS]);
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        let line = said.lines().find_map(|line| line.strip_prefix("counted ")).expect("what it counted");
        let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        (first, last) = (first.min(numbers[0]), last.max(numbers[1]));
        for (limit, count) in admitted.iter_mut().zip(&numbers[2..]) {
            *limit += *count as u64;
        }
    }
    let bound = BURST_AND_RATE + BURST_AND_RATE * (last - first);
    eprintln!("{PROCESSES} processes, {:.1} s, each limit admits {bound:.1}: {admitted:?}", last - first);
    for count in admitted {
        assert!(count as f64 <= bound + 1.0, "{count} were admitted, {bound} may be");
        // A machine that is too busy to ask for all of it says nothing about who counts.
        let least = if soak { 0.99 * bound } else { BURST_AND_RATE };
        assert!(count as f64 >= least, "{count} were admitted of {bound}");
    }
}

#[tokio::test]
#[ignore = "one of the processes of the test above, which starts it"]
async fn one_of_eight() {
    let Ok(url) = std::env::var("TOOLGATE_TEST_COUNTS_AT") else { return };
    let seconds: f64 = std::env::var("TOOLGATE_TEST_SECONDS").unwrap().parse().unwrap();
    let (on_loss, capacity, answer_within) = (OnLoss::Deny, 1_000, Duration::from_secs(60));
    let options = SharedOptions {
        url,
        authority: None,
        install: [7; 16],
        counted: false,
        on_loss,
        capacity,
        answer_within,
    };
    let shared = Shared::new(&options).unwrap();
    shared.connect().await.unwrap();
    let counters = Counters::Shared { keys: shared, sources: Memory::new(100) };
    let (mut admitted, first) = ([0_u64; LIMITS], since_1970());
    while since_1970() - first < seconds {
        for (number, count) in (1..).zip(&mut admitted) {
            let one = charges(key(number), &[charge(Bucket::Key, QUOTA)]);
            *count += u64::from(counters.take(NOW, &one).await.unwrap() == Taken::Admitted);
        }
        tokio::time::sleep(PAUSE).await;
    }
    let counts: Vec<String> = admitted.iter().map(u64::to_string).collect();
    // What tests print goes where the one who started this reads it.
    println!("\ncounted {first:.6} {:.6} {}", since_1970(), counts.join(" "));
}
