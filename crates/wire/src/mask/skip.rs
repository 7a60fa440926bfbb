//! Where no form can begin: most bytes of an answer are passed over without being looked at one by one, after Wu and
//! Manber, "A fast algorithm for multi-pattern searching" (1994), with blocks of two bytes.

/// Longer windows skip further, and their tables are fuller. In bytes.
const WINDOW_MAX: usize = 32;
/// Pairs of bytes that share an entry only make skips shorter.
const ENTRIES: usize = 1 << 12;

/// For each pair of bytes, how far in front of it a form may begin at the latest.
pub(super) struct Skip {
    /// How many bytes of each form count: none has fewer.
    window: usize,
    /// How many places can be passed over when the pair stands at the window's end.
    shifts: Box<[u8; ENTRIES]>,
}

impl Skip {
    /// For `forms`, of which none is empty.
    pub(super) fn new(forms: &[Vec<u8>]) -> Self {
        let window = forms.iter().map(Vec::len).min().unwrap_or(0).min(WINDOW_MAX);
        let widest = u8::try_from(window.saturating_sub(1)).unwrap_or(0);
        let mut shifts = Box::new([widest; ENTRIES]);
        for form in forms {
            for (shift, pair) in (0..widest).rev().zip(form.array_windows()) {
                if let Some(entry) = shifts.get_mut(entry_of(*pair)) {
                    *entry = shift.min(*entry);
                }
            }
        }
        Self { window, shifts }
    }

    /// The first place from `at` on where a form may begin in `bytes`. All bytes of the window are needed to tell.
    pub(super) fn ahead(&self, bytes: &[u8], mut at: usize) -> usize {
        // A window of less than a pair tells nothing.
        let Some(pair) = self.window.checked_sub(2) else { return at };
        while let Some(shift) =
            bytes.get(at + pair..).and_then(<[u8]>::first_chunk).map(|pair| self.shift(*pair))
        {
            if shift == 0 {
                break;
            }
            at += shift;
        }
        at
    }

    fn shift(&self, pair: [u8; 2]) -> usize {
        self.shifts.get(entry_of(pair)).map_or(0, |shift| usize::from(*shift))
    }
}

fn entry_of([first, second]: [u8; 2]) -> usize {
    (usize::from(first) << 4 ^ usize::from(second)) % ENTRIES
}
