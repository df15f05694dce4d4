"""What a detector's predictions become: records, scores, reports, pictures."""
