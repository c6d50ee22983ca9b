"""What maps a subject, inputs and a norm to one radius per input, each with the claim it makes."""
