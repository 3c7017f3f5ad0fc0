"""Tables, one declaration each."""
