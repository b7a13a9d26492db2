"""Where a bundle runs: this machine, an emulated board, a board over ssh, a phone over adb; one file each."""
