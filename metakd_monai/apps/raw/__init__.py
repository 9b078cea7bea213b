"""From the scanner and back: raw series in, BraTS-like cases out, and masks on every series' own grid."""
