"""From raw series to BraTS-like cases, and from masks back to every series' own grid."""
