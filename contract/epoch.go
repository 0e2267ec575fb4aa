package contract

// A run's epochs number its launches, and never come twice: a run that a database knows from a backup may have been launched
// more often than it knows. So an epoch begins with the time at which its database last went on from a backup (seconds since
// 1970, 0: never), and ends with how many launches the database knows of. Both together stay below 2^53, which JavaScript
// counts exactly.
const launchBits = 20

// NextEpoch is the epoch after one, in a database of a timeline.
func NextEpoch(epoch, timeline int64) int64 { return EpochIn(epoch, timeline) + 1 }

// EpochIn moves an epoch to a timeline, unless it is of that or a later one.
func EpochIn(epoch, timeline int64) int64 { return max(epoch, timeline<<launchBits|Launches(epoch)) }

// Launches is how many launches an epoch counts.
func Launches(epoch int64) int64 { return epoch & (1<<launchBits - 1) }
