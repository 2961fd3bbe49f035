//! [`Machine`]: a Linux kernel that runs as a process (user-mode-linux), with an ext4 of its own on an
//! image file. Killing the process is a loss of power for all that is inside.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mq_env::Env;

/// The kernel.
const KERNEL: &str = "linux.uml";

/// Size of the machine's disk.
const DISK_BYTES: u64 = 256 << 20;

/// Where the machine has its disk.
const MOUNTED_AT: &str = "/run/d";

/// A boot that does nothing takes two seconds; it is given a minute.
const TRIAL_LOOKS: u32 = 600;
const TRIAL_PAUSE: Duration = Duration::from_millis(100);

/// A preloaded library for processors whose state is longer than this kernel knows.
const XSTATE_C: &str = include_str!("xstate.c");

/// What can be started anew with the same disk.
pub(crate) struct Machine {
    dir: PathBuf,
    xstate: PathBuf,
}

/// A machine with power.
pub(crate) struct Running {
    child: Child,
}

impl Machine {
    /// A machine with an empty disk, its files in `dir`; says why not where it cannot be had.
    pub(crate) fn new(dir: &Path) -> Result<Self, String> {
        for program in [KERNEL, "mkfs.ext4", "ip"] {
            let found = Command::new("which").arg(program).output().map_err(|it| it.to_string())?;
            if !found.status.success() {
                return Err(format!("{program} is not installed"));
            }
        }
        let machine = Machine { dir: dir.to_path_buf(), xstate: dir.join("xstate.so") };
        let image = OpenOptions::new().create(true).append(true).open(machine.image()).unwrap();
        image.set_len(DISK_BYTES).unwrap();
        finished(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(machine.image()));
        let source = dir.join("xstate.c");
        Env::os().disk.write(&source, XSTATE_C.as_bytes()).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&machine.xstate).arg(&source);
        finished(compile.arg("-ldl"));
        machine.try_boot()?;
        Ok(machine)
    }

    /// Not every host lets a kernel run as a process.
    fn try_boot(&self) -> Result<(), String> {
        let booted = self.dir.join("booted");
        let touch = ["touch".to_owned(), booted.display().to_string()];
        let mut running = self.start(&self.dir.join("nothing"), &touch);
        for _ in 0..TRIAL_LOOKS {
            if running.is_off() {
                break;
            }
            std::thread::sleep(TRIAL_PAUSE);
        }
        match Env::os().disk.stat(&booted) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{KERNEL} does not boot here")),
        }
    }

    /// The store's directory on the machine's disk.
    pub(crate) fn store(&self) -> PathBuf {
        Path::new(MOUNTED_AT).join("store")
    }

    /// Turns the power on: the store as the disk has it is copied to `copy`, then `command` runs,
    /// and at its end the machine turns itself off.
    pub(crate) fn start(&self, copy: &Path, command: &[String]) -> Running {
        let script = format!(
            "#!/bin/sh\nmount -t proc proc /proc\nmount -t sysfs sysfs /sys\n\
             mount -t tmpfs tmpfs /run\nmkdir {MOUNTED_AT}\nmount -t ext4 /dev/ubda {MOUNTED_AT}\n\
             ip link set lo up\nhostname localhost\nexport RUST_BACKTRACE=0\n\
             if [ -d {store} ]; then cp -r {store} {copy}; fi\n\
             {command} > {log} 2>&1\necho o > /proc/sysrq-trigger\nsleep 60\n",
            store = self.store().display(),
            copy = copy.display(),
            command = command.join(" "),
            log = self.log().display(),
        );
        let init = self.dir.join("init.sh");
        Env::os().disk.write(&init, script.as_bytes()).unwrap();
        finished(Command::new("chmod").arg("+x").arg(&init));
        let console = OpenOptions::new().create(true).append(true).open(self.dir.join("console"));
        let console = console.unwrap();
        let mut kernel = Command::new(KERNEL);
        kernel.args(["mem=512M", "rootfstype=hostfs", "rootflags=/", "rw", "quiet"]);
        kernel.arg(format!("init={}", init.display()));
        kernel.arg(format!("ubd0={}", self.image().display()));
        kernel.args(["con0=null,fd:1", "con=null"]).env("LD_PRELOAD", &self.xstate);
        kernel.stdin(Stdio::null()).stdout(console.try_clone().unwrap()).stderr(console);
        // A group of its own, so that the kill reaches every thread of the machine.
        Running { child: kernel.process_group(0).spawn().unwrap() }
    }

    /// What the command said last.
    pub(crate) fn said(&self) -> String {
        let said = Env::os().disk.read(&self.log()).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn log(&self) -> PathBuf {
        self.dir.join("guest.log")
    }

    fn image(&self) -> PathBuf {
        self.dir.join("disk.img")
    }
}

impl Running {
    /// Whether the machine has turned itself off.
    pub(crate) fn is_off(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Cuts the power.
    pub(crate) fn cut(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn finished(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
